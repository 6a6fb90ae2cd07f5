-- Version 6: damage is noticed.

-- CRC-32 of `records`. null: it was never computed.
ALTER TABLE segment ADD COLUMN checksum INTEGER;
