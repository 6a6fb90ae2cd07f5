-- Version 7: several devices of one user.

-- `devices`: -1 until the first device of the user logs in. 0: the user has one device, the unnamed
-- one unless another has a position; its position is not stored, because it has received what is
-- not in `inbox`, and what `seen` tells. Above 0: so many rows of `device` have the position of a
-- device, and a message leaves `inbox` when all of these have reached it. `next_device`: the id of
-- the next device.
ALTER TABLE user ADD COLUMN devices INTEGER NOT NULL DEFAULT 0;
ALTER TABLE user ADD COLUMN next_device INTEGER NOT NULL DEFAULT 1;

-- `first`: the last offset before the first login of the device; what the user sent up to there
-- is not for it. `ended` is null while the device is online.
ALTER TABLE device ADD COLUMN first INTEGER NOT NULL DEFAULT 0;

-- What users have sent and their other devices have not received: `count` messages with
-- consecutive offsets, the last one `last`, that the device sent.
CREATE TABLE copy (
    user INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    device INTEGER NOT NULL,
    PRIMARY KEY (user, last)
) STRICT, WITHOUT ROWID;
