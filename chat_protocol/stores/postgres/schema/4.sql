-- Version 4. A row of `message` is an entry: messages from one sender to one audience with
-- consecutive offsets, that were stored together. An entry of an older version has one message.

-- `last`: the offset of the last of `count` messages. `frames`: see Entry.frames, one behind the
-- other. They are neither compressed nor, up to 8 kB, moved out of the row.
CREATE TABLE entry (
    last bigint PRIMARY KEY,
    count integer NOT NULL,
    sender bigint NOT NULL,
    device bigint,
    scope smallint NOT NULL,
    recipient bigint NOT NULL,
    recipients bigint[],
    frames bytea NOT NULL
) WITH (toast_tuple_target = 8160);
ALTER TABLE entry ALTER COLUMN frames SET STORAGE EXTERNAL;
INSERT INTO entry
SELECT "offset", 1, sender, message.device, scope, recipient, recipients,
    int4send(21 + octet_length(text) + octet_length(s) + octet_length(r))
    || '\x01000200000000' || substring(int4send(octet_length(text)) FROM 3) || text
    || substring(int4send(octet_length(s)) FROM 3) || s
    || substring(int4send(octet_length(r)) FROM 3) || r || int8send(time)
FROM message
LEFT JOIN account AS f ON f.id = sender LEFT JOIN account AS t ON t.id = recipient
CROSS JOIN LATERAL (
    SELECT convert_to(coalesce(f.name, ''), 'UTF8') AS s, convert_to(coalesce(t.name, ''), 'UTF8') AS r
) AS names;
DROP TABLE message;
ALTER TABLE entry RENAME TO message;
CREATE INDEX message_to_everyone ON message (last) WHERE scope = 1;

-- A row of each of these is an entry, with the same `last` and `count`. Of an entry in a mailbox,
-- or of a copy, only what is behind the position of a device is for it. `account.waiting`: how many
-- messages, not rows, of `inbox` are behind `position`.
ALTER TABLE inbox RENAME COLUMN "offset" TO last;
ALTER TABLE inbox ADD COLUMN count integer NOT NULL DEFAULT 1;
ALTER TABLE inbox ALTER COLUMN count DROP DEFAULT;
ALTER TABLE copy RENAME COLUMN "offset" TO last;
ALTER TABLE copy ADD COLUMN count integer NOT NULL DEFAULT 1;
ALTER TABLE copy ALTER COLUMN count DROP DEFAULT;
TRUNCATE conversation;
INSERT INTO conversation
SELECT least(sender, user_id), greatest(sender, user_id), last, count
FROM message CROSS JOIN LATERAL unnest(coalesce(recipients, ARRAY[recipient])) AS t (user_id)
WHERE scope = 0;
