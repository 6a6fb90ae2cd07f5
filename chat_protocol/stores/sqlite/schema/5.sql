-- Version 5: one kind of message, whose mailbox is the only way to its recipient; devices; tables
-- under the usual names.

-- Every message, packed (stores/sqlite/segments.py). `first` is the offset of the first message of
-- a segment; the others follow one by one. What `chunk` holds is moved here.
CREATE TABLE segment (
    first INTEGER PRIMARY KEY,
    records BLOB NOT NULL
) STRICT;

-- What the segments say is written to the tables that are looked up in by flushes; `last` is the
-- last offset of each, and what comes behind the last flush is in the memtable
-- (stores/sqlite/memtable.py).
ALTER TABLE filing RENAME TO flush;
ALTER TABLE conversation RENAME COLUMN filing TO flush;
ALTER TABLE conversation RENAME COLUMN records TO postings;

-- Messages with offsets below `first` were stored by `time`, nanoseconds since the epoch; a
-- segment ends there.
ALTER TABLE moment RENAME TO time_index;

-- One row. Messages with offsets below `expired` are gone for everybody, though perhaps not from
-- the tables yet. `failed_syncs` counts failed syncs; to change it overwrites the commit that was
-- not synced (stores/sqlite/wal.py).
CREATE TABLE state (
    expired INTEGER NOT NULL,
    failed_syncs INTEGER NOT NULL
) STRICT;
INSERT INTO state SELECT below, 0 FROM forgotten;
DROP TABLE forgotten;

-- Devices. `id` tells the devices of one user apart. The unnamed device has the id 0, and no row
-- while it is the only one. A device with a `position` receives: it has all messages up to that
-- offset, and a message leaves the inbox when each of these devices has it. Without a `position`
-- the device only sends. `ended`: when its last session ended, nanoseconds since the epoch.
CREATE TABLE device (
    user INTEGER NOT NULL,
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    position INTEGER,
    ended INTEGER,
    PRIMARY KEY (user, id)
) STRICT, WITHOUT ROWID;

-- The last publishing ids of a device: `count` ids that follow one by one, the highest is `last`.
-- Up to version 4 there were ids above 2^63 - 1, which count as none, and all were stored less
-- 2^63.
ALTER TABLE publishing RENAME TO publishing_4;
CREATE TABLE publishing (
    user INTEGER NOT NULL,
    device INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (user, device, last)
) STRICT, WITHOUT ROWID;
INSERT INTO publishing
SELECT user, 0, min(last, -1) + 9223372036854775807 + 1, count - max(last + 1, 0)
FROM publishing_4 WHERE last - count < -1;
DROP TABLE publishing_4;
