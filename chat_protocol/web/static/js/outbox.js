/**
 * Messages until the server has them stored: kept, so that neither a reload nor the death of the
 * server loses one, and sent again under the same publishing id, so that none is doubled.
 */

import { Code } from "./codec.js";
import { ConnectionLost } from "./connection.js";
import { load, save } from "./storage.js";

/** Messages that may wait; the composer takes no more then. */
export const OUTBOX_LIMIT = 500;

/**
 * The next publishing id is up to so many higher, at random. Other programs of the same user count
 * by one from the highest that is stored: none of them uses the id of what is on its way from here.
 */
const STEP = 2 ** 32;

/** After a refusal for now: when the message is sent again, in milliseconds. */
const AGAIN = 2000;

const FOR_NOW = new Set([Code.UNAVAILABLE, Code.RATE_LIMITED]);

const WHY = new Map([
  [Code.USER_NOT_FOUND, "nobody of that name has ever logged in here"],
  [Code.MAILBOX_FULL, "the mailbox is full"],
  [Code.MALFORMED, "it is too long for the server"],
]);

/** A sentence for people. */
function reason(answer, { to }) {
  const known = WHY.get(answer.code);
  // Which of several it is, the server says.
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
   * @param {(entry) => void} changed told of each entry whose state is another.
   */
  constructor(user, changed) {
    this.#user = user;
    this.#changed = changed;
    /** In the order of sending: {id, text, scope, to, time, state, why}; waiting or failed. */
    this.entries = [];
  }

  /** What is kept is this tab's now. */
  open() {
    const kept = load(this.#user, "outbox", { lastId: "0", entries: [] });
    this.#lastId = BigInt(kept.lastId);
    this.entries = kept.entries;
    this.#isOpen = true;
  }

  /** Another tab may have it: nothing is written any more. */
  close() {
    this.offline();
    this.#isOpen = false;
  }

  get isFull() {
    return this.entries.length >= OUTBOX_LIMIT;
  }

  /** Put a message behind the others; `time` is in nanoseconds, and no two of a user have one. */
  add({ text, scope, to, time }) {
    const entry = { id: "0", text, scope, to, time: String(time), state: "waiting", why: "" };
    this.entries.push(entry);
    this.#keep();
    this.#go();
    return entry;
  }

  /** Take a failed message out. */
  discard(entry) {
    this.entries = this.entries.filter((one) => one !== entry);
    this.#keep();
  }

  /** There is a session: `published` is the highest id that the server knows. */
  online(connection, published) {
    if (published > this.#lastId) this.#lastId = published;
    this.#connection = connection;
    this.#go();
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
    // One at a time: whatever is refused for now, the order stays.
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
      this.#lastId += 1n + BigInt(Math.floor(Math.random() * STEP));
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
    if (FOR_NOW.has(answer.code)) {
      entry.why = answer.detail;
      this.#changed(entry);
      this.#timer = setTimeout(() => this.#go(), AGAIN);
      return false;
    }
    if (answer.code === Code.OK) {
      entry.state = "stored";
      this.entries = this.entries.filter((one) => one !== entry);
    } else {
      entry.state = "failed";
      entry.why = reason(answer, entry);
    }
    this.#keep();
    this.#changed(entry);
    return true;
  }
}
