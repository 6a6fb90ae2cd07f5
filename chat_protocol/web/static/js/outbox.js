/**
 * The messages that the server has not stored yet. They are kept in the browser's storage, so that
 * neither a reload nor a crash of the server loses one. A message is sent again with the same
 * publishing id, so that the server stores it only once.
 */

import { Code } from "./codec.js";
import { ConnectionLost } from "./connection.js";
import { load, save } from "./storage.js";

/** Maximum number of unsent messages. */
export const OUTBOX_LIMIT = 500;

/**
 * The next publishing id is higher by a random number up to this one. Other programs of the same user
 * increment the highest stored id by one, so they do not use an id that is in flight from this page.
 */
const MAX_ID_STEP = 2 ** 32;

/** What a server accepts: the highest id, the highest first one, and the largest step (protocol.md). */
const MAX_ID = 2n ** 63n - 1n;
const MAX_FIRST_ID = 2n ** 62n;
const MAX_STEP_ABOVE_STORED = 2n ** 40n;

/** Milliseconds before a message is sent again after a temporary refusal. */
const RETRY_DELAY = 2000;

const TEMPORARY = new Set([Code.UNAVAILABLE, Code.RATE_LIMITED]);

const REASONS = new Map([
  [Code.USER_NOT_FOUND, "no user has that name"],
  [Code.MAILBOX_FULL, "the recipient's mailbox is full"],
  [Code.MALFORMED, "the message is too long for the server"],
  [Code.OUT_OF_ORDER, "a later message of yours is stored already"],
]);

/** Return the reason of a refusal, for people. */
function reason(answer, { to }) {
  if (answer.code === Code.MALFORMED && answer.detail.startsWith("publishingId")) {
    return `the server does not accept its number (${answer.detail})`;
  }
  const known = REASONS.get(answer.code);
  // With several recipients, the server's detail names the recipient.
  if (known) return answer.detail && to.length > 1 ? `${known} (${answer.detail})` : known;
  return answer.detail || "the server refused it";
}

export class Outbox {
  #user;
  #changed;
  #connection = null;
  #sending = false;
  #timer = 0;
  #lastId = 0n;
  #isOpen = false;

  /**
   * @param {string} user
   * @param {(entry) => void} changed called with each entry whose state has changed.
   */
  constructor(user, changed) {
    this.#user = user;
    this.#changed = changed;
    /**
     * The entries in the order of sending: {id, text, scope, to, time, state, why}, where state is
     * "waiting", "stored" or "failed".
     */
    this.entries = [];
  }

  /** Load the entries from the storage; this tab must hold the lock. */
  open() {
    const kept = load(this.#user, "outbox", { lastId: "0", entries: [] });
    this.#lastId = BigInt(kept.lastId);
    this.entries = kept.entries;
    this.#isOpen = true;
  }

  /** Stop writing to the storage, because another tab may hold the lock. */
  close() {
    this.offline();
    this.#isOpen = false;
  }

  /** Drop all entries, also those that another tab has stored. */
  clear() {
    const { lastId } = load(this.#user, "outbox", { lastId: "0" });
    this.entries = [];
    this.offline();
    save(this.#user, "outbox", { lastId, entries: [] });
  }

  get isFull() {
    return this.entries.length >= OUTBOX_LIMIT;
  }

  /** Append a message; `time` is in nanoseconds and must be unique for the user. */
  add({ text, scope, to, time }) {
    const entry = { id: "0", text, scope, to, time: String(time), state: "waiting", why: "" };
    this.entries.push(entry);
    this.#keep();
    this.#go();
    return entry;
  }

  /** Remove a failed message. */
  discard(entry) {
    this.entries = this.entries.filter((one) => one !== entry);
    this.#keep();
  }

  /**
   * Begin to send over a connection.
   * @param {bigint} published the highest publishing id that the server has stored for this device.
   * @param {boolean} resumed whether the server knew the device. If not, nobody can tell whether what
   *   was sent before is stored.
   */
  online(connection, published, resumed) {
    if (published > this.#lastId) this.#lastId = published;
    if (!resumed) {
      for (const entry of this.entries) {
        if (entry.state === "waiting" && entry.id !== "0") {
          this.#fail(entry, "the server no longer knows this browser, so it may have been sent or not");
        }
      }
    }
    this.#renumber(published);
    this.#connection = connection;
    this.#go();
  }

  /**
   * If the ids are out of bounds, go on above `published`, as after the restore of an old backup. What
   * has a higher id is not stored, so it can have another one.
   */
  #renumber(published) {
    const bound = published ? published + MAX_STEP_ABOVE_STORED / 2n : MAX_FIRST_ID / 2n;
    if (this.#lastId <= bound) return;
    this.#lastId = published;
    for (const entry of this.entries) {
      if (entry.state === "waiting" && BigInt(entry.id) > published) entry.id = "0";
    }
  }

  offline() {
    this.#connection = null;
    clearTimeout(this.#timer);
  }

  #keep() {
    if (!this.#isOpen) return;
    save(this.#user, "outbox", { lastId: String(this.#lastId), entries: this.entries });
  }

  async #go() {
    // Send one message at a time, so that a temporary refusal does not change the order.
    if (this.#sending) return;
    this.#sending = true;
    try {
      let entry;
      while (this.#connection && (entry = this.entries.find((one) => one.state === "waiting"))) {
        if (!(await this.#send(this.#connection, entry))) break;
      }
    } finally {
      this.#sending = false;
    }
  }

  async #send(connection, entry) {
    if (entry.id === "0") {
      if (this.#lastId > MAX_ID - BigInt(MAX_ID_STEP)) {
        this.#fail(entry, "this user has no message number left");
        return true;
      }
      this.#lastId += 1n + BigInt(Math.floor(Math.random() * MAX_ID_STEP));
      entry.id = String(this.#lastId);
      this.#keep();
    }
    let answer;
    try {
      answer = await connection.request("Publish", {
        publishingId: BigInt(entry.id),
        message: entry.text,
        scope: entry.scope,
        to: entry.to,
        time: BigInt(entry.time),
      });
    } catch (error) {
      if (error instanceof ConnectionLost) return false;
      answer = { code: Code.MALFORMED, detail: "" };
    }
    if (TEMPORARY.has(answer.code)) {
      entry.why = answer.detail;
      this.#changed(entry);
      this.#timer = setTimeout(() => this.#go(), RETRY_DELAY);
      return false;
    }
    if (answer.code === Code.OK) {
      entry.state = "stored";
      this.entries = this.entries.filter((one) => one !== entry);
    } else {
      this.#fail(entry, reason(answer, entry));
      return true;
    }
    this.#keep();
    this.#changed(entry);
    return true;
  }

  #fail(entry, why) {
    entry.state = "failed";
    entry.why = why;
    this.#keep();
    this.#changed(entry);
  }
}
