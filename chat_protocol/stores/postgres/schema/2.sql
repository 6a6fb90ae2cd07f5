-- Version 2. A message names the device that sent it, each device of a user has a position in the
-- mailbox, and publishing ids are stored as ranges, for each device by itself.

-- `position`: the offset up to which the unnamed device has received everything. `devices`: how
-- many rows of `device` have a position. A row of `inbox` is deleted when all positions of the
-- user have reached it; so where there is only the unnamed device, none is at or below `position`.
ALTER TABLE account RENAME COLUMN seen TO position;
ALTER TABLE account ADD COLUMN devices integer NOT NULL DEFAULT 0;

-- Version 1 could put a message back into a mailbox whose position was behind it already.
UPDATE account SET position = first - 1
FROM (SELECT user_id, min("offset") AS first FROM inbox GROUP BY user_id) AS waiting
WHERE account.id = user_id AND position >= first;

-- The named devices of users. The unnamed device has the id 0 and no row. `position` is null for
-- a name that only has publishing ids.
CREATE TABLE device (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    position bigint,
    UNIQUE (user_id, name)
);

-- The device that sent the message; null is the unnamed one, which so takes no space.
ALTER TABLE message ADD COLUMN device bigint;

-- `last_value` is the last offset that was given to a message. A batch draws all its offsets at
-- once, so that they follow each other: nextval() cannot promise that, so setval() is called
-- under a lock. The lock must not last as long as the transaction: all nodes wait for it.
ALTER SEQUENCE message_block RENAME TO message_offset;
ALTER SEQUENCE message_offset INCREMENT BY 1;
SELECT setval('message_offset', last_value + 2047) FROM message_offset;

CREATE FUNCTION draw_offsets(count bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    first bigint;
BEGIN
    PERFORM pg_advisory_lock(x'4368617400000003'::bigint);
    SELECT last_value + 1 INTO first FROM message_offset;
    PERFORM setval('message_offset', first + count - 1);
    PERFORM pg_advisory_unlock(x'4368617400000003'::bigint);
    RETURN first;
END
$$;

-- A row is the publishing ids from `first` to `last`. Before, a row was one id, less 2^63; ids
-- above 2^63 - 1, which were positive there, are valid no more.
ALTER TABLE publishing RENAME TO publishing_1;
CREATE TABLE publishing (
    user_id bigint NOT NULL,
    device bigint NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    PRIMARY KEY (user_id, device, first)
) WITH (fillfactor = 50);
INSERT INTO publishing
SELECT user_id, 0, min(id), max(id) FROM (
    SELECT user_id, id, id - row_number() OVER (PARTITION BY user_id ORDER BY id) AS range
    FROM (SELECT user_id, id & 9223372036854775807 AS id FROM publishing_1 WHERE id < 0) AS valid
) AS numbered GROUP BY user_id, range;
DROP TABLE publishing_1;

-- Messages with lower offsets are expired: no query returns them, and they are removed in steps.
CREATE TABLE expired (before bigint NOT NULL);
INSERT INTO expired VALUES (0);

-- The version of the schema that the node knows. It has no default: a server that does not know
-- this version cannot become a node.
ALTER TABLE node ADD COLUMN schema integer NOT NULL;
