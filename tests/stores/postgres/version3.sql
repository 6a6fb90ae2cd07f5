SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA chat;
CREATE FUNCTION chat.draw_offsets(count bigint) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
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
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE chat.account (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    last_login bigint NOT NULL,
    registered bigint NOT NULL,
    "position" bigint NOT NULL,
    waiting integer DEFAULT 0 NOT NULL,
    device bigint DEFAULT 0
)
WITH (fillfactor='50');
ALTER TABLE chat.account ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME chat.account_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE chat.conversation (
    low bigint NOT NULL,
    high bigint NOT NULL,
    last bigint NOT NULL,
    count integer NOT NULL
);
CREATE TABLE chat.copy (
    user_id bigint NOT NULL,
    "offset" bigint NOT NULL,
    device bigint NOT NULL
);
CREATE TABLE chat.device (
    id bigint NOT NULL,
    user_id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    "position" bigint,
    first bigint DEFAULT 0 NOT NULL,
    ended bigint
);
ALTER TABLE chat.device ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME chat.device_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE chat.ended_token (
    token text NOT NULL,
    user_id bigint NOT NULL,
    until timestamp with time zone NOT NULL
);
CREATE TABLE chat.expired (
    before bigint NOT NULL
);
CREATE TABLE chat.inbox (
    user_id bigint NOT NULL,
    "offset" bigint NOT NULL
);
CREATE TABLE chat.message (
    "offset" bigint NOT NULL,
    sender bigint NOT NULL,
    recipient bigint NOT NULL,
    "time" bigint NOT NULL,
    scope smallint NOT NULL,
    recipients bigint[],
    text bytea NOT NULL,
    device bigint
);
CREATE SEQUENCE chat.message_offset
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE chat.moment (
    first bigint NOT NULL,
    "time" bigint NOT NULL
);
CREATE TABLE chat.node (
    id integer NOT NULL,
    lease_until timestamp with time zone NOT NULL,
    batch bigint DEFAULT 0 NOT NULL,
    schema integer NOT NULL
)
WITH (fillfactor='50');
ALTER TABLE chat.node ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME chat.node_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE chat.peer (
    user_id bigint NOT NULL,
    peer_id bigint NOT NULL
);
CREATE TABLE chat.publishing (
    user_id bigint NOT NULL,
    device bigint NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL
)
WITH (fillfactor='50');
CREATE TABLE chat.schema_version (
    version integer NOT NULL
);
CREATE TABLE chat.session (
    user_id bigint NOT NULL,
    number bigint NOT NULL,
    node integer NOT NULL,
    device text NOT NULL COLLATE pg_catalog."C",
    device_id bigint NOT NULL,
    token text NOT NULL,
    verified boolean NOT NULL,
    trusted boolean NOT NULL
);
CREATE SEQUENCE chat.session_number
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
INSERT INTO chat.account OVERRIDING SYSTEM VALUE VALUES
	(2, 'e', 38, 0, 1795800869960812, 2, NULL),
	(6, 'f', 33, 1795800869960788, 1795800869960788, 12, 7),
	(3, 'a', 16, 1795800869960736, 1795800869960736, 12, NULL),
	(4, 'd', 39, 1795800869960736, 1795800869960785, 7, NULL),
	(1, 'b', 21, 0, 1795800869960816, 12, NULL),
	(5, 'c', 30, 1795800869960788, 1795800869960830, 3, 0);
INSERT INTO chat.conversation VALUES
	(1, 2, 1795800869960666, 1),
	(2, 2, 1795800869960699, 5),
	(2, 2, 1795800869960700, 1),
	(1, 2, 1795800869960708, 4),
	(1, 1, 1795800869960712, 3),
	(1, 2, 1795800869960715, 3),
	(1, 1, 1795800869960732, 5),
	(1, 2, 1795800869960735, 3),
	(1, 1, 1795800869960742, 4),
	(2, 3, 1795800869960759, 1),
	(3, 4, 1795800869960784, 3),
	(2, 4, 1795800869960789, 1),
	(2, 3, 1795800869960802, 4),
	(1, 2, 1795800869960811, 5),
	(2, 2, 1795800869960812, 1),
	(2, 6, 1795800869960812, 1),
	(2, 4, 1795800869960812, 1),
	(1, 2, 1795800869960813, 1),
	(2, 4, 1795800869960818, 2),
	(2, 6, 1795800869960818, 2),
	(1, 2, 1795800869960818, 2),
	(1, 6, 1795800869960823, 5),
	(1, 5, 1795800869960824, 1),
	(1, 2, 1795800869960824, 1),
	(1, 3, 1795800869960832, 4),
	(1, 6, 1795800869960832, 4),
	(1, 5, 1795800869960832, 4),
	(2, 6, 1795800869960837, 5),
	(1, 3, 1795800869960840, 3),
	(4, 5, 1795800869960843, 3),
	(1, 6, 1795800869960851, 3),
	(1, 1, 1795800869960853, 2),
	(1, 5, 1795800869960860, 1);
INSERT INTO chat.copy VALUES
	(1, 1795800869960813, 1),
	(1, 1795800869960824, 1),
	(1, 1795800869960829, 2),
	(1, 1795800869960830, 2),
	(1, 1795800869960831, 2),
	(1, 1795800869960832, 2),
	(1, 1795800869960838, 0),
	(1, 1795800869960839, 0),
	(1, 1795800869960840, 0),
	(1, 1795800869960860, 1);
INSERT INTO chat.device OVERRIDING SYSTEM VALUE VALUES
	(4, 3, ' script', NULL, 0, NULL),
	(6, 2, ' script', NULL, 0, NULL),
	(0, 1, '', 1795800869960788, 1795800869960715, NULL),
	(7, 6, 'phone', NULL, 0, NULL),
	(0, 2, '', 1795800869960812, 1795800869960698, NULL),
	(5, 4, 'laptop', 1795800869960785, 1795800869960785, NULL),
	(0, 4, '', 1795800869960785, 1795800869960828, NULL),
	(2, 1, 'phone', 1795800869960814, 1795800869960673, NULL),
	(1, 1, 'laptop', 1795800869960816, 0, NULL);
INSERT INTO chat.expired VALUES
	(0);
INSERT INTO chat.inbox VALUES
	(3, 1795800869960759),
	(4, 1795800869960789),
	(3, 1795800869960799),
	(3, 1795800869960800),
	(3, 1795800869960801),
	(3, 1795800869960802),
	(1, 1795800869960807),
	(1, 1795800869960808),
	(1, 1795800869960809),
	(1, 1795800869960810),
	(1, 1795800869960811),
	(6, 1795800869960812),
	(4, 1795800869960812),
	(2, 1795800869960813),
	(4, 1795800869960817),
	(4, 1795800869960818),
	(6, 1795800869960817),
	(6, 1795800869960818),
	(1, 1795800869960817),
	(1, 1795800869960818),
	(1, 1795800869960819),
	(1, 1795800869960820),
	(1, 1795800869960821),
	(1, 1795800869960822),
	(1, 1795800869960823),
	(2, 1795800869960824),
	(3, 1795800869960829),
	(3, 1795800869960830),
	(3, 1795800869960831),
	(3, 1795800869960832),
	(6, 1795800869960829),
	(6, 1795800869960830),
	(6, 1795800869960831),
	(6, 1795800869960832),
	(5, 1795800869960831),
	(5, 1795800869960832),
	(6, 1795800869960833),
	(6, 1795800869960834),
	(6, 1795800869960835),
	(6, 1795800869960836),
	(6, 1795800869960837),
	(3, 1795800869960838),
	(3, 1795800869960839),
	(3, 1795800869960840),
	(4, 1795800869960841),
	(4, 1795800869960842),
	(4, 1795800869960843),
	(1, 1795800869960849),
	(1, 1795800869960850),
	(1, 1795800869960851);
INSERT INTO chat.inbox VALUES
	(1, 1795800869960852),
	(1, 1795800869960853),
	(5, 1795800869960860);
INSERT INTO chat.message VALUES
	(1795800869960666, 2, 1, 7, 0, NULL, '\x36', NULL),
	(1795800869960692, 2, 0, 7, 1, NULL, '\x3236', NULL),
	(1795800869960693, 2, 0, 7, 1, NULL, '\x3237', NULL),
	(1795800869960694, 2, 0, 7, 1, NULL, '\x3238', NULL),
	(1795800869960695, 2, 2, 7, 0, NULL, '\x3239', NULL),
	(1795800869960696, 2, 2, 7, 0, NULL, '\x3330', NULL),
	(1795800869960697, 2, 2, 7, 0, NULL, '\x3331', NULL),
	(1795800869960698, 2, 2, 7, 0, NULL, '\x3332', NULL),
	(1795800869960699, 2, 2, 7, 0, NULL, '\x3333', NULL),
	(1795800869960700, 2, 2, 7, 0, NULL, '\x3335', NULL),
	(1795800869960705, 1, 2, 7, 0, NULL, '\x3339', 2),
	(1795800869960706, 1, 2, 7, 0, NULL, '\x3430', 2),
	(1795800869960707, 1, 2, 7, 0, NULL, '\x3431', 2),
	(1795800869960708, 1, 2, 7, 0, NULL, '\x3432', 2),
	(1795800869960710, 1, 1, 7, 0, NULL, '\x3434', 2),
	(1795800869960711, 1, 1, 7, 0, NULL, '\x3435', 2),
	(1795800869960712, 1, 1, 7, 0, NULL, '\x3436', 2),
	(1795800869960713, 1, 2, 7, 0, NULL, '\x3437', 1),
	(1795800869960714, 1, 2, 7, 0, NULL, '\x3438', 1),
	(1795800869960715, 1, 2, 7, 0, NULL, '\x3439', 1),
	(1795800869960716, 1, 0, 7, 1, NULL, '\x3536', NULL),
	(1795800869960717, 1, 0, 7, 1, NULL, '\x3537', NULL),
	(1795800869960718, 1, 0, 7, 1, NULL, '\x3538', NULL),
	(1795800869960719, 1, 0, 7, 1, NULL, '\x3539', NULL),
	(1795800869960720, 1, 0, 7, 1, NULL, '\x3630', NULL),
	(1795800869960721, 1, 0, 7, 1, NULL, '\x3631', NULL),
	(1795800869960728, 1, 1, 7, 0, NULL, '\x3632', 2),
	(1795800869960729, 1, 1, 7, 0, NULL, '\x3633', 2),
	(1795800869960730, 1, 1, 7, 0, NULL, '\x3634', 2),
	(1795800869960731, 1, 1, 7, 0, NULL, '\x3635', 2),
	(1795800869960732, 1, 1, 7, 0, NULL, '\x3636', 2),
	(1795800869960733, 1, 2, 7, 0, NULL, '\x3638', 1),
	(1795800869960734, 1, 2, 7, 0, NULL, '\x3639', 1),
	(1795800869960735, 1, 2, 7, 0, NULL, '\x3730', 1),
	(1795800869960736, 1, 0, 7, 1, NULL, '\x3732', NULL),
	(1795800869960739, 1, 1, 7, 0, NULL, '\x3733', 1),
	(1795800869960740, 1, 1, 7, 0, NULL, '\x3734', 1),
	(1795800869960741, 1, 1, 7, 0, NULL, '\x3735', 1),
	(1795800869960742, 1, 1, 7, 0, NULL, '\x3736', 1),
	(1795800869960759, 2, 3, 7, 0, NULL, '\x3933', NULL),
	(1795800869960765, 3, 0, 7, 1, NULL, '\x3939', 4),
	(1795800869960766, 3, 0, 7, 1, NULL, '\x313030', 4),
	(1795800869960782, 3, 4, 7, 0, NULL, '\x313136', 4),
	(1795800869960783, 3, 4, 7, 0, NULL, '\x313137', 4),
	(1795800869960784, 3, 4, 7, 0, NULL, '\x313138', 4),
	(1795800869960785, 1, 0, 7, 1, NULL, '\x313139', 1),
	(1795800869960786, 1, 0, 7, 1, NULL, '\x313230', 1),
	(1795800869960787, 1, 0, 7, 1, NULL, '\x313231', 1),
	(1795800869960788, 1, 0, 7, 1, NULL, '\x313232', 1),
	(1795800869960789, 2, 4, 7, 0, NULL, '\x313238', 6);
INSERT INTO chat.message VALUES
	(1795800869960799, 2, 3, 7, 0, NULL, '\x313337', NULL),
	(1795800869960800, 2, 3, 7, 0, NULL, '\x313338', NULL),
	(1795800869960801, 2, 3, 7, 0, NULL, '\x313339', NULL),
	(1795800869960802, 2, 3, 7, 0, NULL, '\x313430', NULL),
	(1795800869960807, 2, 1, 7, 0, NULL, '\x313431', 6),
	(1795800869960808, 2, 1, 7, 0, NULL, '\x313432', 6),
	(1795800869960809, 2, 1, 7, 0, NULL, '\x313433', 6),
	(1795800869960810, 2, 1, 7, 0, NULL, '\x313434', 6),
	(1795800869960811, 2, 1, 7, 0, NULL, '\x313435', 6),
	(1795800869960812, 2, 0, 7, 0, '{2,6,4}', '\x313436', NULL),
	(1795800869960813, 1, 2, 7, 0, NULL, '\x313437', 1),
	(1795800869960814, 4, 0, 7, 1, NULL, '\x313438', 5),
	(1795800869960815, 4, 0, 7, 1, NULL, '\x313439', 5),
	(1795800869960816, 4, 0, 7, 1, NULL, '\x313530', 5),
	(1795800869960817, 2, 0, 7, 0, '{4,6,1}', '\x313531', NULL),
	(1795800869960818, 2, 0, 7, 0, '{4,6,1}', '\x313532', NULL),
	(1795800869960819, 6, 1, 7, 0, NULL, '\x313533', 7),
	(1795800869960820, 6, 1, 7, 0, NULL, '\x313534', 7),
	(1795800869960821, 6, 1, 7, 0, NULL, '\x313535', 7),
	(1795800869960822, 6, 1, 7, 0, NULL, '\x313536', 7),
	(1795800869960823, 6, 1, 7, 0, NULL, '\x313537', 7),
	(1795800869960824, 1, 0, 7, 0, '{5,2}', '\x313538', 1),
	(1795800869960829, 1, 0, 7, 0, '{3,6,5}', '\x313633', 2),
	(1795800869960830, 1, 0, 7, 0, '{3,6,5}', '\x313634', 2),
	(1795800869960831, 1, 0, 7, 0, '{3,6,5}', '\x313635', 2),
	(1795800869960832, 1, 0, 7, 0, '{3,6,5}', '\x313636', 2),
	(1795800869960833, 2, 6, 7, 0, NULL, '\x313637', NULL),
	(1795800869960834, 2, 6, 7, 0, NULL, '\x313638', NULL),
	(1795800869960835, 2, 6, 7, 0, NULL, '\x313639', NULL),
	(1795800869960836, 2, 6, 7, 0, NULL, '\x313730', NULL),
	(1795800869960837, 2, 6, 7, 0, NULL, '\x313731', NULL),
	(1795800869960838, 1, 3, 7, 0, NULL, '\x313732', NULL),
	(1795800869960839, 1, 3, 7, 0, NULL, '\x313733', NULL),
	(1795800869960840, 1, 3, 7, 0, NULL, '\x313734', NULL),
	(1795800869960841, 5, 4, 7, 0, NULL, '\x313830', NULL),
	(1795800869960842, 5, 4, 7, 0, NULL, '\x313831', NULL),
	(1795800869960843, 5, 4, 7, 0, NULL, '\x313832', NULL),
	(1795800869960849, 6, 1, 7, 0, NULL, '\x313833', 7),
	(1795800869960850, 6, 1, 7, 0, NULL, '\x313834', 7),
	(1795800869960851, 6, 1, 7, 0, NULL, '\x313835', 7),
	(1795800869960852, 1, 1, 7, 0, NULL, '\x313836', 2),
	(1795800869960853, 1, 1, 7, 0, NULL, '\x313837', 2),
	(1795800869960860, 1, 5, 7, 0, NULL, '\x313934', 1);
INSERT INTO chat.moment VALUES
	(1795800869960666, 0);
INSERT INTO chat.peer VALUES
	(1, 2),
	(2, 1),
	(2, 2),
	(1, 1),
	(2, 3),
	(3, 2),
	(3, 4),
	(4, 3),
	(2, 4),
	(4, 2),
	(2, 6),
	(6, 2),
	(1, 5),
	(1, 6),
	(5, 1),
	(6, 1),
	(1, 3),
	(3, 1),
	(4, 5),
	(5, 4);
INSERT INTO chat.publishing VALUES
	(2, 0, 20, 22),
	(2, 0, 31, 36),
	(1, 2, 21, 29),
	(2, 0, 49, 49),
	(3, 4, 11, 12),
	(3, 4, 15, 17),
	(2, 6, 1, 5),
	(2, 0, 52, 52),
	(1, 1, 8, 8),
	(1, 1, 16, 16),
	(6, 7, 1, 8);
INSERT INTO chat.schema_version VALUES
	(3);
SELECT pg_catalog.setval('chat.account_id_seq', 6, true);
SELECT pg_catalog.setval('chat.device_id_seq', 7, true);
SELECT pg_catalog.setval('chat.message_offset', 1795800869960860, true);
SELECT pg_catalog.setval('chat.node_id_seq', 1, true);
SELECT pg_catalog.setval('chat.session_number', 14, true);
ALTER TABLE ONLY chat.account
    ADD CONSTRAINT account_name_key UNIQUE (name);
ALTER TABLE ONLY chat.account
    ADD CONSTRAINT account_pkey PRIMARY KEY (id);
ALTER TABLE ONLY chat.conversation
    ADD CONSTRAINT conversation_pkey PRIMARY KEY (low, high, last);
ALTER TABLE ONLY chat.copy
    ADD CONSTRAINT copy_pkey PRIMARY KEY (user_id, "offset");
ALTER TABLE ONLY chat.device
    ADD CONSTRAINT device_pkey PRIMARY KEY (user_id, id);
ALTER TABLE ONLY chat.device
    ADD CONSTRAINT device_user_id_name_key UNIQUE (user_id, name);
ALTER TABLE ONLY chat.ended_token
    ADD CONSTRAINT ended_token_pkey PRIMARY KEY (token);
ALTER TABLE ONLY chat.inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (user_id, "offset");
ALTER TABLE ONLY chat.message
    ADD CONSTRAINT message_pkey PRIMARY KEY ("offset");
ALTER TABLE ONLY chat.moment
    ADD CONSTRAINT moment_pkey PRIMARY KEY (first);
ALTER TABLE ONLY chat.node
    ADD CONSTRAINT node_pkey PRIMARY KEY (id);
ALTER TABLE ONLY chat.peer
    ADD CONSTRAINT peer_pkey PRIMARY KEY (user_id, peer_id);
ALTER TABLE ONLY chat.publishing
    ADD CONSTRAINT publishing_pkey1 PRIMARY KEY (user_id, device, first);
ALTER TABLE ONLY chat.session
    ADD CONSTRAINT session_pkey PRIMARY KEY (user_id, number);
CREATE INDEX account_with_devices ON chat.account USING btree (id) WHERE (device IS NULL);
CREATE INDEX device_id ON chat.device USING btree (id);
CREATE INDEX ended_token_until ON chat.ended_token USING btree (until);
CREATE INDEX message_to_everyone ON chat.message USING btree ("offset") WHERE (scope = 1);
CREATE INDEX session_node ON chat.session USING btree (node);
