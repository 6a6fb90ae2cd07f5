-- Version 2: messages to several and to everyone, publishing ids, conversations.

-- `registered`: the last offset before the user was; what went to everyone until then is not
-- the user's. `seen`: what went to everyone up to there is delivered.
ALTER TABLE user ADD COLUMN registered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE user ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;

-- `recipient` is 0 where there are several, whose ids are a JSON array in `recipients`, and
-- where the message goes to everyone (`scope` 1).
ALTER TABLE message ADD COLUMN scope INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN recipients TEXT;
CREATE INDEX message_to_everyone ON message (scope) WHERE scope = 1;
CREATE INDEX message_to_everyone_from ON message (sender) WHERE scope = 1;

-- A message is once in the conversation of its sender with each recipient; `low` and `high` are
-- the two ids in order. A row is `count` messages with offsets one by one, the newest at `last`.
CREATE TABLE conversation (
    low INTEGER NOT NULL,
    high INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (low, high, last)
) STRICT, WITHOUT ROWID;
CREATE TABLE peer (
    user INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    PRIMARY KEY (user, peer)
) STRICT, WITHOUT ROWID;

-- The publishing ids of a user's last messages, less 2^63: so they keep their order.
CREATE TABLE publishing (
    user INTEGER NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (user, id)
) STRICT, WITHOUT ROWID;

INSERT INTO conversation
SELECT min(sender, recipient), max(sender, recipient), offset, 1 FROM message;
INSERT OR IGNORE INTO peer
SELECT low, high FROM conversation UNION SELECT high, low FROM conversation;
