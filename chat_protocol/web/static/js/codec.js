/**
 * Encode and decode the frames of version 2 (docs/protocol.md). Each command is declared in a table,
 * from which the encoder and the decoder are derived. 64-bit integers are BigInts.
 */

export const VERSION = 2;

/** The codes of docs/protocol.md, section "Codes". */
export const Code = Object.freeze({
  OK: 0x0001,
  ERROR: 0x0002,
  USER_NOT_FOUND: 0x0003,
  USER_ALREADY_LOGGED: 0x0004,
  MALFORMED: 0x0100,
  UNKNOWN_COMMAND: 0x0101,
  NOT_LOGGED_IN: 0x0103,
  INVALID_USERNAME: 0x0104,
  AUTHENTICATION_FAILED: 0x0105,
  MAILBOX_FULL: 0x0106,
  RATE_LIMITED: 0x0107,
  UNAVAILABLE: 0x0108,
  GOING_AWAY: 0x0109,
  REPLACED: 0x010a,
  HEARTBEAT_MISSED: 0x010b,
  OUT_OF_ORDER: 0x010c,
});

/** The recipients of a message: named users, or everyone. */
export const Scope = Object.freeze({ USERS: 0, EVERYONE: 1 });

const MESSAGE = [
  ["offset", "uint64"],
  ["message", "string"],
  ["from", "string"],
  ["scope", "byte"],
  ["to", "strings"],
  ["time", "uint64"],
];

const STRUCTS = {
  stored: MESSAGE,
  user: [
    ["username", "string"],
    ["online", "byte"],
    ["lastLogin", "uint64"],
  ],
};

const COMMANDS = {
  Login: { key: 0x0001, fields: [["username", "string"], ["properties", "map"]] },
  LoginAnswer: {
    key: 0x8001,
    fields: [["code", "uint16"], ["detail", "string"], ["properties", "map"]],
  },
  Response: { key: 0x0003, fields: [["code", "uint16"], ["detail", "string"]] },
  Publish: {
    key: 0x0102,
    fields: [
      ["publishingId", "uint64"],
      ["message", "string"],
      ["scope", "byte"],
      ["to", "strings"],
      ["time", "uint64"],
    ],
  },
  Deliver: { key: 0x0108, fields: MESSAGE },
  Ack: { key: 0x010a, fields: [["offset", "uint64"]] },
  History: { key: 0x010b, fields: [["with", "string"], ["before", "uint64"], ["limit", "uint16"]] },
  HistoryAnswer: {
    key: 0x810b,
    fields: [["code", "uint16"], ["detail", "string"], ["messages", "storeds"]],
  },
  Users: { key: 0x010f, fields: [["after", "string"], ["limit", "uint16"]] },
  UsersAnswer: {
    key: 0x810f,
    fields: [["code", "uint16"], ["detail", "string"], ["users", "users"]],
  },
  Presence: { key: 0x0110, fields: [["username", "string"], ["online", "byte"], ["time", "uint64"]] },
  Close: { key: 0x0116, fields: [["code", "uint16"], ["reason", "string"]] },
  Heartbeat: { key: 0x0117, fields: [] },
};

const BY_KEY = new Map(Object.entries(COMMANDS).map(([name, { key }]) => [key, name]));

/** The bytes are not frames of the protocol. The rest of the stream cannot be read. */
export class Malformed extends Error {}

const utf8 = new TextEncoder();
// fatal: invalid UTF-8 is an error; ignoreBOM: a byte order mark is kept as a character.
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Return the size of a text in UTF-8, in bytes. */
export const byteLength = (value) => utf8.encode(value).length;

/** The maximum size of a string, in bytes. */
export const MAX_STRING = 0xffff;

class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  #room(size) {
    if (this.#at + size > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#at + size));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#at += size;
    return this.#at - size;
  }

  // Reserve the space first: #room may replace #view.
  byte(value) {
    const at = this.#room(1);
    this.#view.setUint8(at, value);
  }

  uint16(value) {
    const at = this.#room(2);
    this.#view.setUint16(at, value);
  }

  uint32(value) {
    const at = this.#room(4);
    this.#view.setUint32(at, value);
  }

  uint64(value) {
    const at = this.#room(8);
    this.#view.setBigUint64(at, BigInt(value));
  }

  string(value) {
    const bytes = utf8.encode(value);
    if (bytes.length > MAX_STRING) throw new RangeError("the text is longer than 65,535 bytes");
    this.uint16(bytes.length);
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  strings(values) {
    this.uint32(values.length);
    for (const value of values) this.string(value);
  }

  map(values) {
    const pairs = Object.entries(values);
    this.uint32(pairs.length);
    for (const [key, value] of pairs) {
      this.string(key);
      this.string(value);
    }
  }

  done() {
    const frame = this.#bytes.slice(0, this.#at);
    new DataView(frame.buffer).setUint32(0, this.#at - 4);
    return frame;
  }
}

class Reader {
  #view;
  #bytes;
  #at;

  constructor(bytes, at) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = at;
  }

  #take(size) {
    if (this.#at + size > this.#bytes.length) throw new Malformed("a frame ends too early");
    this.#at += size;
    return this.#at - size;
  }

  byte() { return this.#view.getUint8(this.#take(1)); }
  uint16() { return this.#view.getUint16(this.#take(2)); }
  uint32() { return this.#view.getUint32(this.#take(4)); }
  uint64() { return this.#view.getBigUint64(this.#take(8)); }

  string() {
    const size = this.uint16();
    const at = this.#take(size);
    try {
      return text.decode(this.#bytes.subarray(at, at + size));
    } catch {
      throw new Malformed("a string is not valid UTF-8");
    }
  }

  #array(minSize, read) {
    const count = this.uint32();
    if (count * minSize > this.#bytes.length - this.#at) throw new Malformed("an array is longer than its frame");
    return Array.from({ length: count }, read);
  }

  #struct(name) {
    return Object.fromEntries(STRUCTS[name].map(([field, type]) => [field, this[type]()]));
  }

  strings() { return this.#array(2, () => this.string()); }
  map() { return Object.fromEntries(this.#array(4, () => [this.string(), this.string()])); }
  storeds() { return this.#array(25, () => this.#struct("stored")); }
  users() { return this.#array(11, () => this.#struct("user")); }
}

/** Encode a command to a frame, a Uint8Array. */
export function encode(name, fields, correlationId) {
  const { key, fields: declared } = COMMANDS[name];
  const writer = new Writer();
  writer.uint32(0);
  writer.byte(VERSION);
  writer.uint16(key);
  writer.uint32(correlationId);
  for (const [field, type] of declared) writer[type](fields[field]);
  return writer.done();
}

/**
 * Decode a frame without its length to {name, correlationId, ...fields}. For an unknown key, name is
 * null and there are no fields.
 */
export function decode(payload) {
  const reader = new Reader(payload, 0);
  reader.byte();
  const name = BY_KEY.get(reader.uint16()) ?? null;
  const frame = { name, correlationId: reader.uint32() };
  for (const [field, type] of name ? COMMANDS[name].fields : []) frame[field] = reader[type]();
  return frame;
}

/** Splits a stream of bytes into frames. The pieces of the stream can have any size. */
export class FrameReader {
  #rest = new Uint8Array(0);

  /** Add bytes; return the frames that are now complete. */
  push(bytes) {
    let data = bytes;
    if (this.#rest.length) {
      data = new Uint8Array(this.#rest.length + bytes.length);
      data.set(this.#rest);
      data.set(bytes, this.#rest.length);
    }
    const frames = [];
    let at = 0;
    while (data.length - at >= 4) {
      const size = new DataView(data.buffer, data.byteOffset + at).getUint32(0);
      if (size < 7 || size > 0xffffff) throw new Malformed("the length of a frame is out of bounds");
      if (data.length - at - 4 < size) break;
      frames.push(decode(data.subarray(at + 4, at + 4 + size)));
      at += 4 + size;
    }
    this.#rest = data.slice(at);
    return frames;
  }
}
