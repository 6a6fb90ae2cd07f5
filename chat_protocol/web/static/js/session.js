/**
 * A user's session: logs in, comes back whenever the connection is lost, acknowledges what has
 * arrived. One tab of a browser has it at a time: another that opens takes it over by its token,
 * as soon as this one has let go.
 */

import { Claim } from "./claim.js";
import { Code } from "./codec.js";
import { Connection, ConnectionLost } from "./connection.js";
import { Outbox } from "./outbox.js";
import { load, save } from "./storage.js";

const FIRST_DELAY = 500;
const MAX_DELAY = 15000;
/** The clients of a server that goes away come back spread over so many milliseconds. */
const SPREAD = 5000;
/** Seconds; timers of hidden tabs fire once a minute. */
const HEARTBEAT = 120;
const WINDOW = 500;
/** Milliseconds in which a connection must be made, and a heartbeat be answered. */
const PATIENCE = 20000;

const NEXT = {
  idle: { claim: "claiming" },
  claiming: { start: "connecting", end: "ended" },
  connecting: { opened: "logging in", lost: "waiting", end: "ended" },
  "logging in": { granted: "online", lost: "waiting", end: "ended" },
  online: { lost: "waiting", end: "ended" },
  waiting: { start: "connecting", end: "ended" },
  ended: { claim: "claiming" },
};

/** Why a login is not tried again by itself. */
const FINAL = new Map([
  [Code.USER_ALREADY_LOGGED, "taken"],
  [Code.INVALID_USERNAME, "invalid"],
  [Code.AUTHENTICATION_FAILED, "password"],
]);

/**
 * Events: "state" whenever `state` changes; "delivered" with the messages; "presence"; "sent" with
 * the entry of the outbox whose state is another.
 */
export class Session extends EventTarget {
  #url;
  #password;
  #claim;
  #connection = null;
  #failures = 0;
  #spread = false;
  #hadSession = false;
  #timer = 0;
  #beat = 0;
  #acked = 0n;
  #unacked = 0n;

  constructor(url, user, password) {
    super();
    this.#url = url;
    this.#password = password;
    this.user = user;
    this.state = "idle";
    /** Why it ended: taken, invalid, password, replaced, or empty; and what the server said. */
    this.ended = "";
    this.detail = "";
    /** When it is tried again, as Date.now(). */
    this.retryAt = 0;
    /** How many messages waited at the login. */
    this.pending = 0;
    this.outbox = new Outbox(user, (entry) => this.#emit("sent", entry));
    this.#claim = new Claim(user, () => this.#leave());
    addEventListener("online", this.retry);
    document.addEventListener("visibilitychange", this.retry);
  }

  async start() {
    if (!this.#step("claim")) return;
    this.ended = this.detail = "";
    if (!(await this.#claim.take())) return;
    // What another tab has left, and it writes no more.
    this.outbox.open();
    this.#connect();
  }

  /** Do not wait any longer, if it waits to connect. */
  retry = () => {
    if (this.state === "waiting" && document.visibilityState === "visible") this.#connect();
  };

  /** Log out. */
  async stop() {
    const connection = this.#connection;
    const online = this.state === "online";
    if (online) save(this.user, "token", "");
    this.#release();
    this.#step("end");
    if (online) await connection.request("Close", { code: Code.OK, reason: "" }).catch(() => {});
    connection?.abort();
  }

  /** Ask something; rejects with ConnectionLost when there is no session. */
  async ask(name, fields) {
    if (this.state !== "online") throw new ConnectionLost();
    return this.#connection.request(name, fields);
  }

  /** All messages up to that offset have arrived for good. */
  acknowledge(offset) {
    if (offset <= this.#unacked) return;
    if (this.#unacked <= this.#acked) {
      // Once a turn, for all that came in it.
      queueMicrotask(() => {
        this.#acked = this.#unacked;
        this.#connection?.tell("Ack", { offset: this.#acked });
      });
    }
    this.#unacked = offset;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #step(event) {
    const next = NEXT[this.state][event];
    if (!next) return false;
    this.state = next;
    this.#emit("state");
    return true;
  }

  #connect() {
    clearTimeout(this.#timer);
    if (!this.#step("start")) return;
    let connection;
    const mine = (then) => (value) => connection === this.#connection && then(value);
    connection = this.#connection = new Connection(this.#url, {
      opened: mine(() => this.#step("opened") && this.#logIn(connection)),
      pushed: mine((frames) => this.#pushed(frames)),
      lost: mine(() => this.#lost()),
    });
    this.#timer = setTimeout(() => connection.abort(), PATIENCE);
  }

  async #logIn(connection) {
    const properties = {
      product: "console-chat-page",
      heartbeat: String(HEARTBEAT),
      window: String(WINDOW),
      presence: "1",
      session: load(this.user, "token", ""),
    };
    if (this.#password) properties.password = this.#password;
    let answer;
    try {
      answer = await connection.request("Login", { username: this.user, properties });
    } catch (error) {
      if (!(error instanceof ConnectionLost)) this.#end("invalid", String(error.message));
      return;
    }
    if (connection !== this.#connection) return;
    clearTimeout(this.#timer);
    if (answer.code === Code.OK) {
      this.#granted(connection, answer.properties);
    } else if (FINAL.has(answer.code) && !this.#comesBack(answer.code)) {
      this.#end(FINAL.get(answer.code), answer.detail);
    } else {
      this.detail = answer.detail;
      connection.abort();
    }
  }

  /** A session that was cut may live on at the server for a while. */
  #comesBack(code) {
    return this.#hadSession && code === Code.USER_ALREADY_LOGGED;
  }

  #granted(connection, properties) {
    this.#failures = 0;
    this.#hadSession = true;
    this.detail = "";
    this.#acked = this.#unacked = 0n;
    this.pending = Number(properties.pending) || 0;
    save(this.user, "token", properties.session ?? "");
    const heartbeat = Number(properties.heartbeat) || 0;
    if (heartbeat) this.#beat = setInterval(() => this.#heartbeat(connection), heartbeat * 400);
    this.#step("granted");
    this.outbox.online(connection, BigInt(properties["publishing-id"] ?? 0));
  }

  async #heartbeat(connection) {
    const timer = setTimeout(() => connection.abort(), PATIENCE);
    try {
      await connection.request("Heartbeat");
    } catch {
      // It is lost, and told so.
    } finally {
      clearTimeout(timer);
    }
  }

  #pushed(frames) {
    const messages = frames.filter(({ name }) => name === "Deliver");
    if (messages.length) {
      this.#emit("delivered", messages);
      this.acknowledge(messages.at(-1).offset);
    }
    for (const frame of frames) {
      if (frame.name === "Presence") this.#emit("presence", frame);
      else if (frame.name === "Close" && frame.code === Code.REPLACED) this.#leave();
      else if (frame.name === "Close") this.#spread = frame.code === Code.GOING_AWAY;
    }
  }

  #lost() {
    this.#forget();
    const bound = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** Math.min(this.#failures, 10));
    const delay = this.#spread
      ? Math.random() * SPREAD
      : bound / 4 + (Math.random() * bound * 3) / 4;
    this.#failures += 1;
    this.#spread = false;
    this.retryAt = Date.now() + delay;
    if (this.#step("lost")) this.#timer = setTimeout(() => this.#connect(), delay);
  }

  /** Another tab, or another program of this user's, has the session now. */
  #leave() {
    this.#end("replaced", "");
  }

  #end(why, detail) {
    const connection = this.#connection;
    this.#release();
    this.#hadSession = false;
    this.ended = why;
    this.detail = detail;
    this.#step("end");
    connection?.abort();
  }

  #forget() {
    this.#connection = null;
    this.outbox.offline();
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
  }

  #release() {
    this.#forget();
    this.outbox.close();
    this.#claim.release();
  }

  /** The page turns to another user. */
  dispose() {
    this.#claim.dispose();
    removeEventListener("online", this.retry);
    document.removeEventListener("visibilitychange", this.retry);
  }
}
