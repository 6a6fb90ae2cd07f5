-- Version 4: when messages were stored, and up to where they are forgotten.

-- What has a lower offset than `first` was stored by `time`, nanoseconds since the epoch; a chunk
-- ends there.
CREATE TABLE moment (
    first INTEGER PRIMARY KEY,
    time INTEGER NOT NULL
) STRICT;

-- One row. What has a lower offset is gone for everybody, if perhaps not yet from the tables.
CREATE TABLE forgotten (
    below INTEGER NOT NULL
) STRICT;
INSERT INTO forgotten VALUES (0);
