-- Version 3: messages in chunks, what is looked up in written behind.

ALTER TABLE message RENAME TO message_2;
ALTER TABLE inbox RENAME TO inbox_2;
ALTER TABLE publishing RENAME TO publishing_2;
DROP TABLE conversation;
DROP TABLE peer;

-- Everything that was ever accepted, packed (stores/sqlite/segments.py). `first` is the offset of
-- the first message; the others of a chunk follow one by one.
CREATE TABLE chunk (
    first INTEGER PRIMARY KEY,
    entries BLOB NOT NULL
) STRICT;

-- What the chunks say is put into the tables below in filings; `last` is the last offset of each,
-- and what comes behind the last of all is in memory (stores/sqlite/memtable.py).
CREATE TABLE filing (
    first INTEGER PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT;

-- What waits for a user: `count` messages with offsets one by one, the newest at `last`.
CREATE TABLE inbox (
    user INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (user, last)
) STRICT, WITHOUT ROWID;
INSERT INTO inbox
SELECT user, max(offset), count(*) FROM (
    SELECT user, offset, offset - row_number() OVER (PARTITION BY user ORDER BY offset) AS run
    FROM inbox_2
) GROUP BY user, run;

-- Who wrote to whom, by filing: records in their order, some in a row, `low` being the first. A
-- record is four numbers of 32 bits, big-endian: a user, the other, by how much the first offset of
-- a run is above that of the filing, and how many follow one by one. Each run has one record for
-- its sender and one for its recipient.
CREATE TABLE conversation (
    filing INTEGER NOT NULL,
    low BLOB NOT NULL,
    records BLOB NOT NULL,
    PRIMARY KEY (filing, low)
) STRICT, WITHOUT ROWID;

-- Messages to everyone, which are in no mailbox and no conversation.
CREATE TABLE everyone (
    offset INTEGER PRIMARY KEY,
    sender INTEGER NOT NULL
) STRICT;
CREATE INDEX everyone_from ON everyone (sender);
INSERT INTO everyone SELECT offset, sender FROM message_2 WHERE scope = 1;

-- The publishing ids of a user's last messages, less 2^63: so they keep their order. `count` of
-- them follow each other, the highest is `last`.
CREATE TABLE publishing (
    user INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (user, last)
) STRICT, WITHOUT ROWID;
INSERT INTO publishing SELECT user, id, 1 FROM publishing_2;
