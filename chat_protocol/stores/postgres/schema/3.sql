-- Version 3. A user may have several devices.

-- `device`: the id of the user's only device, whose position is `position`; 0 is the unnamed one.
-- -1: no device has logged in yet, and the first one begins at `position`. null: the positions are
-- in `device`, and `position` is the highest that there ever was. `waiting`: how many rows of
-- `inbox` are behind `position`.
ALTER TABLE account DROP COLUMN devices;
ALTER TABLE account ADD COLUMN device bigint DEFAULT 0;
CREATE INDEX account_with_devices ON account (id) WHERE device IS NULL;

-- Devices, and names under which users send. The unnamed device has the id 0. `position`: the
-- device has received everything up to there; null: see `account`, or it is no device. `first`: the
-- last offset before its first login; copies up to there are not for it. `ended`: when its last
-- session ended, in nanoseconds since the epoch; null: that is not known, or it is online.
ALTER TABLE device DROP CONSTRAINT device_pkey;
ALTER TABLE device ADD PRIMARY KEY (user_id, id);
CREATE INDEX device_id ON device (id);
ALTER TABLE device ADD COLUMN first bigint NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN ended bigint;

-- Messages that users have sent and their other devices have not received. `device` has sent it;
-- -1: a session without a device.
CREATE TABLE copy (
    user_id bigint NOT NULL,
    "offset" bigint NOT NULL,
    device bigint NOT NULL,
    PRIMARY KEY (user_id, "offset")
);

-- Sessions, and the nodes that they are at. `device`: see Session.device. `token`: a hash; empty:
-- no login can show it. `verified` and `trusted`: see login_rules.Holder.
DROP TABLE session;
CREATE TABLE session (
    user_id bigint NOT NULL,
    number bigint NOT NULL,
    node integer NOT NULL,
    device text COLLATE "C" NOT NULL,
    device_id bigint NOT NULL,
    token text NOT NULL,
    verified boolean NOT NULL,
    trusted boolean NOT NULL,
    PRIMARY KEY (user_id, number)
);
CREATE INDEX session_node ON session (node);

-- Tokens of sessions that have ended, as far as they stand for a password.
CREATE TABLE ended_token (
    token text PRIMARY KEY,
    user_id bigint NOT NULL,
    until timestamptz NOT NULL
);
CREATE INDEX ended_token_until ON ended_token (until);
