-- Version 1. Names are ids everywhere but in `user`.

CREATE TABLE user (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last_login INTEGER NOT NULL -- nanoseconds since the epoch
) STRICT;

-- Every message that was ever accepted. `offset` is its number, for ever.
CREATE TABLE message (
    offset INTEGER PRIMARY KEY,
    sender INTEGER NOT NULL,
    recipient INTEGER NOT NULL,
    time INTEGER NOT NULL, -- the sender's uint64, its bits read as a signed integer
    text TEXT NOT NULL
) STRICT;

-- What waits for a user. A message delivered as soon as it is stored never stands here.
CREATE TABLE inbox (
    user INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (user, offset)
) STRICT, WITHOUT ROWID;
