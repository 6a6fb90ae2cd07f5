-- Version 1. Users are ids in all tables but `account`.

-- The row of a user is the lock of the mailbox: a transaction that changes the mailbox, or draws an
-- offset for a message to the user, holds it until the commit. `registered`: the last offset to
-- everyone before the registration; messages to everyone up to there are not the user's. `seen`:
-- messages to everyone up to there are delivered. `waiting`: how many rows `inbox` has.
CREATE TABLE account (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    last_login bigint NOT NULL, -- nanoseconds since the epoch
    registered bigint NOT NULL,
    seen bigint NOT NULL,
    waiting integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Offsets are drawn in blocks. Those of a new database are above those of any database before it,
-- because clients compare them.
CREATE SEQUENCE message_block INCREMENT BY 2048;
SELECT setval('message_block', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);

-- All messages. `recipient` is 0 if there are several, whose ids are in `recipients`, and if the
-- message goes to everyone (`scope` 1).
CREATE TABLE message (
    "offset" bigint PRIMARY KEY,
    sender bigint NOT NULL,
    recipient bigint NOT NULL,
    time bigint NOT NULL, -- the sender's uint64; its bits are read as a signed integer
    scope smallint NOT NULL,
    recipients bigint[],
    text bytea NOT NULL -- UTF-8, which may contain NUL
);
CREATE INDEX message_to_everyone ON message ("offset") WHERE scope = 1;

-- Messages with offsets below `first` were stored by `time`, in nanoseconds since the epoch.
CREATE TABLE moment (
    first bigint PRIMARY KEY,
    time bigint NOT NULL
);

-- The mailboxes, but for messages to everyone.
CREATE TABLE inbox (
    user_id bigint NOT NULL,
    "offset" bigint NOT NULL,
    PRIMARY KEY (user_id, "offset")
);

-- A message is in the conversation of its sender with each recipient; `low` and `high` are their
-- two ids in order. A row is `count` messages with consecutive offsets, the last one `last`.
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

-- The publishing ids of a user's last messages, less 2^63 to keep their order.
CREATE TABLE publishing (
    user_id bigint NOT NULL,
    id bigint NOT NULL,
    PRIMARY KEY (user_id, id)
);

-- The servers that are running. `batch` is the last batch that the node has committed.
CREATE TABLE node (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lease_until timestamptz NOT NULL,
    batch bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Users who are online, and their nodes. `number` distinguishes the sessions of a user.
CREATE SEQUENCE session_number;
CREATE TABLE session (
    user_id bigint PRIMARY KEY,
    node integer NOT NULL,
    number bigint NOT NULL,
    token text NOT NULL -- a hash; empty: the session cannot be taken over
);
CREATE INDEX session_node ON session (node);
