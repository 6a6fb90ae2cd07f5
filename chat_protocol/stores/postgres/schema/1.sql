-- Version 1. Names are ids everywhere but in `account`.

-- The row of a user is the lock of the mailbox: whoever changes what waits for a user, or draws
-- an offset for a message to it, holds it until the commit. `registered`: the last offset before
-- the user was; what went to everyone until then is not the user's. `seen`: what went to everyone
-- up to there is delivered. `waiting`: the rows in `inbox`.
CREATE TABLE account (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    last_login bigint NOT NULL, -- nanoseconds since the epoch
    registered bigint NOT NULL,
    seen bigint NOT NULL,
    waiting integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- A batch draws blocks, so that the messages of a run stand one behind the other. The numbers of
-- a new database are above those of any before it: clients compare them.
CREATE SEQUENCE message_block INCREMENT BY 2048;
SELECT setval('message_block', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);

-- Every message that was ever accepted. `recipient` is 0 where there are several, whose ids are in
-- `recipients`, and where the message goes to everyone (`scope` 1).
CREATE TABLE message (
    "offset" bigint PRIMARY KEY,
    sender bigint NOT NULL,
    recipient bigint NOT NULL,
    time bigint NOT NULL, -- the sender's uint64, its bits read as a signed integer
    scope smallint NOT NULL,
    recipients bigint[],
    text bytea NOT NULL -- UTF-8, which here may hold NUL
);
CREATE INDEX message_to_everyone ON message ("offset") WHERE scope = 1;

-- Messages with offsets below `first` were stored by then, in nanoseconds since the epoch.
CREATE TABLE moment (
    first bigint PRIMARY KEY,
    time bigint NOT NULL
);

-- What waits for a user.
CREATE TABLE inbox (
    user_id bigint NOT NULL,
    "offset" bigint NOT NULL,
    PRIMARY KEY (user_id, "offset")
);

-- A message is once in the conversation of its sender with each recipient; `low` and `high` are
-- the two ids in order. A row is `count` messages with offsets one by one, the newest at `last`.
CREATE TABLE conversation (
    low bigint NOT NULL,
    high bigint NOT NULL,
    last bigint NOT NULL,
    count integer NOT NULL,
    PRIMARY KEY (low, high, last)
);
CREATE TABLE peer (
    user_id bigint NOT NULL,
    peer_id bigint NOT NULL,
    PRIMARY KEY (user_id, peer_id)
);

-- The publishing ids of a user's last messages, less 2^63: so they keep their order.
CREATE TABLE publishing (
    user_id bigint NOT NULL,
    id bigint NOT NULL,
    PRIMARY KEY (user_id, id)
);

-- The servers that are there. `batch` is the last one that a node has committed.
CREATE TABLE node (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lease_until timestamptz NOT NULL,
    batch bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Who is on-line, and at which node. `number` tells a session from the one before it.
CREATE SEQUENCE session_number;
CREATE TABLE session (
    user_id bigint PRIMARY KEY,
    node integer NOT NULL,
    number bigint NOT NULL,
    token text NOT NULL -- a hash; empty: nobody can take the session over
);
CREATE INDEX session_node ON session (node);
