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
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE chat.account (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    last_login bigint NOT NULL,
    registered bigint NOT NULL,
    seen bigint NOT NULL,
    waiting integer DEFAULT 0 NOT NULL
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
    text bytea NOT NULL
);
CREATE SEQUENCE chat.message_block
    START WITH 1
    INCREMENT BY 2048
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
    batch bigint DEFAULT 0 NOT NULL
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
    id bigint NOT NULL
);
CREATE TABLE chat.schema_version (
    version integer NOT NULL
);
CREATE TABLE chat.session (
    user_id bigint NOT NULL,
    node integer NOT NULL,
    number bigint NOT NULL,
    token text NOT NULL
);
CREATE SEQUENCE chat.session_number
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
INSERT INTO chat.account OVERRIDING SYSTEM VALUE VALUES
	(1, 'alice', 1000, 0, 0, 4),
	(4, 'däve', 1003, 0, 0, 34),
	(5, 'erin', 1000, 1795656048809148, 1795656048809148, 0),
	(2, 'bob', 1001, 0, 1795656048792765, 5),
	(3, 'carol', 1002, 0, 1795656048815291, 1);
INSERT INTO chat.conversation VALUES
	(1, 2, 1795656048792767, 5),
	(1, 2, 1795656048794811, 1),
	(1, 3, 1795656048794811, 1),
	(1, 3, 1795656048794812, 1),
	(1, 4, 1795656048796859, 1),
	(1, 2, 1795656048798907, 1),
	(1, 4, 1795656048798907, 1),
	(1, 1, 1795656048798907, 1),
	(1, 2, 1795656048800955, 1),
	(1, 2, 1795656048803003, 1),
	(1, 2, 1795656048803004, 1),
	(2, 3, 1795656048805051, 1),
	(4, 4, 1795656048807100, 2),
	(3, 4, 1795656048807130, 30),
	(2, 3, 1795656048813243, 1);
INSERT INTO chat.inbox VALUES
	(2, 1795656048792766),
	(2, 1795656048792767),
	(2, 1795656048794811),
	(4, 1795656048796859),
	(2, 1795656048798907),
	(4, 1795656048798907),
	(1, 1795656048798907),
	(1, 1795656048800955),
	(1, 1795656048803003),
	(1, 1795656048803004),
	(2, 1795656048805051),
	(4, 1795656048807099),
	(4, 1795656048807100),
	(4, 1795656048807101),
	(4, 1795656048807102),
	(4, 1795656048807103),
	(4, 1795656048807104),
	(4, 1795656048807105),
	(4, 1795656048807106),
	(4, 1795656048807107),
	(4, 1795656048807108),
	(4, 1795656048807109),
	(4, 1795656048807110),
	(4, 1795656048807111),
	(4, 1795656048807112),
	(4, 1795656048807113),
	(4, 1795656048807114),
	(4, 1795656048807115),
	(4, 1795656048807116),
	(4, 1795656048807117),
	(4, 1795656048807118),
	(4, 1795656048807119),
	(4, 1795656048807120),
	(4, 1795656048807121),
	(4, 1795656048807122),
	(4, 1795656048807123),
	(4, 1795656048807124),
	(4, 1795656048807125),
	(4, 1795656048807126),
	(4, 1795656048807127),
	(4, 1795656048807128),
	(4, 1795656048807129),
	(4, 1795656048807130),
	(3, 1795656048813243);
INSERT INTO chat.message VALUES
	(1795656048792763, 1, 2, 7, 0, NULL, '\x6131'),
	(1795656048792764, 1, 2, 7, 0, NULL, '\x6132'),
	(1795656048792765, 1, 2, 7, 0, NULL, '\x6133'),
	(1795656048792766, 1, 2, 7, 0, NULL, '\x6134'),
	(1795656048792767, 1, 2, 7, 0, NULL, '\x6135'),
	(1795656048794811, 1, 0, 7, 0, '{2,3}', '\x6136'),
	(1795656048794812, 1, 3, 7, 0, NULL, '\x6137'),
	(1795656048796859, 1, 4, 7, 0, NULL, '\x6139'),
	(1795656048798907, 1, 0, 7, 0, '{2,4,1}', '\x613132'),
	(1795656048800955, 2, 1, 7, 0, NULL, '\x62206d6178'),
	(1795656048803003, 2, 1, 7, 0, NULL, '\x62206f766572'),
	(1795656048803004, 2, 1, 7, 0, NULL, '\x6220746f70'),
	(1795656048805051, 3, 2, 7, 0, NULL, '\x6320746f70'),
	(1795656048807099, 4, 4, -1, 0, NULL, '\x'),
	(1795656048807100, 4, 4, -1, 0, NULL, '\x7800790ae29883'),
	(1795656048807101, 3, 4, 7, 0, NULL, '\x30'),
	(1795656048807102, 3, 4, 7, 0, NULL, '\x31'),
	(1795656048807103, 3, 4, 7, 0, NULL, '\x32'),
	(1795656048807104, 3, 4, 7, 0, NULL, '\x33'),
	(1795656048807105, 3, 4, 7, 0, NULL, '\x34'),
	(1795656048807106, 3, 4, 7, 0, NULL, '\x35'),
	(1795656048807107, 3, 4, 7, 0, NULL, '\x36'),
	(1795656048807108, 3, 4, 7, 0, NULL, '\x37'),
	(1795656048807109, 3, 4, 7, 0, NULL, '\x38'),
	(1795656048807110, 3, 4, 7, 0, NULL, '\x39'),
	(1795656048807111, 3, 4, 7, 0, NULL, '\x3130'),
	(1795656048807112, 3, 4, 7, 0, NULL, '\x3131'),
	(1795656048807113, 3, 4, 7, 0, NULL, '\x3132'),
	(1795656048807114, 3, 4, 7, 0, NULL, '\x3133'),
	(1795656048807115, 3, 4, 7, 0, NULL, '\x3134'),
	(1795656048807116, 3, 4, 7, 0, NULL, '\x3135'),
	(1795656048807117, 3, 4, 7, 0, NULL, '\x3136'),
	(1795656048807118, 3, 4, 7, 0, NULL, '\x3137'),
	(1795656048807119, 3, 4, 7, 0, NULL, '\x3138'),
	(1795656048807120, 3, 4, 7, 0, NULL, '\x3139'),
	(1795656048807121, 3, 4, 7, 0, NULL, '\x3230'),
	(1795656048807122, 3, 4, 7, 0, NULL, '\x3231'),
	(1795656048807123, 3, 4, 7, 0, NULL, '\x3232'),
	(1795656048807124, 3, 4, 7, 0, NULL, '\x3233'),
	(1795656048807125, 3, 4, 7, 0, NULL, '\x3234'),
	(1795656048807126, 3, 4, 7, 0, NULL, '\x3235'),
	(1795656048807127, 3, 4, 7, 0, NULL, '\x3236'),
	(1795656048807128, 3, 4, 7, 0, NULL, '\x3237'),
	(1795656048807129, 3, 4, 7, 0, NULL, '\x3238'),
	(1795656048807130, 3, 4, 7, 0, NULL, '\x3239'),
	(1795656048809147, 1, 0, 7, 1, NULL, '\x616c6c2031'),
	(1795656048809148, 4, 0, 7, 1, NULL, '\x616c6c2032'),
	(1795656048811195, 1, 0, 7, 1, NULL, '\x616c6c2033'),
	(1795656048813243, 2, 3, 7, 0, NULL, '\x676976656e206261636b'),
	(1795656048815291, 1, 0, 7, 1, NULL, '\x616c6c2034');
INSERT INTO chat.moment VALUES
	(1795656048792768, 1700000000000000000);
INSERT INTO chat.node OVERRIDING SYSTEM VALUE VALUES
	(1, '2020-01-01 00:00:00+00', 16);
INSERT INTO chat.peer VALUES
	(1, 2),
	(2, 1),
	(1, 3),
	(3, 1),
	(1, 4),
	(4, 1),
	(1, 1),
	(3, 2),
	(2, 3),
	(4, 4),
	(3, 4),
	(4, 3);
INSERT INTO chat.publishing VALUES
	(1, -9223372036854775807),
	(1, -9223372036854775806),
	(1, -9223372036854775805),
	(1, -9223372036854775804),
	(1, -9223372036854775803),
	(1, -9223372036854775802),
	(1, -9223372036854775801),
	(1, -9223372036854775799),
	(1, -9223372036854775796),
	(2, -1),
	(2, 0),
	(2, 9223372036854775807),
	(3, 9223372036854775803);
INSERT INTO chat.schema_version VALUES
	(1);
INSERT INTO chat.session VALUES
	(1, 1, 1, ''),
	(2, 1, 2, ''),
	(3, 1, 3, ''),
	(4, 1, 4, ''),
	(5, 1, 5, '');
SELECT pg_catalog.setval('chat.account_id_seq', 5, true);
SELECT pg_catalog.setval('chat.message_block', 1795656048815291, true);
SELECT pg_catalog.setval('chat.node_id_seq', 1, true);
SELECT pg_catalog.setval('chat.session_number', 5, true);
ALTER TABLE ONLY chat.account
    ADD CONSTRAINT account_name_key UNIQUE (name);
ALTER TABLE ONLY chat.account
    ADD CONSTRAINT account_pkey PRIMARY KEY (id);
ALTER TABLE ONLY chat.conversation
    ADD CONSTRAINT conversation_pkey PRIMARY KEY (low, high, last);
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
    ADD CONSTRAINT publishing_pkey PRIMARY KEY (user_id, id);
ALTER TABLE ONLY chat.session
    ADD CONSTRAINT session_pkey PRIMARY KEY (user_id);
CREATE INDEX message_to_everyone ON chat.message USING btree ("offset") WHERE (scope = 1);
CREATE INDEX session_node ON chat.session USING btree (node);
