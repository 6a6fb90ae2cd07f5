/**
 * A user's session. It logs in, reconnects whenever the connection is lost, and acknowledges
 * messages. One tab of a browser has the session at a time. Another tab takes over the session by its
 * token, once the first tab has released the lock. Where the server asks for passwords, a token stands
 * for one for a while: then each tab has its own, which only a reload of that tab finds again.
 */

import { Code } from "./codec.js";
import { Connection, ConnectionLost } from "./connection.js";
import { deviceOf } from "./device.js";
import { Outbox } from "./outbox.js";
import { load, remove, save, tab, watch } from "./storage.js";
import { TabLock } from "./tab-lock.js";

/** Milliseconds before the first reconnection, and the maximum to which the delay grows. */
const FIRST_DELAY = 500;
const MAX_DELAY = 15000;
/** After GoingAway, clients reconnect at random within this time, in milliseconds. */
const SPREAD = 5000;
/** Heartbeat interval in seconds. It is long because timers of hidden tabs fire once a minute. */
const HEARTBEAT = 120;
const WINDOW = 500;
/** Timeout in milliseconds for a connection with its login, and for the answer to a heartbeat. */
const TIMEOUT = 20000;

const NEXT = {
  idle: { lock: "locking" },
  locking: { start: "connecting", end: "ended" },
  connecting: { opened: "logging in", lost: "waiting", end: "ended" },
  "logging in": { granted: "online", lost: "waiting", end: "ended" },
  online: { lost: "waiting", end: "ended" },
  waiting: { start: "connecting", end: "ended" },
  ended: { lock: "locking" },
};

/** Codes after which the session does not retry the login by itself. */
const FINAL = new Map([
  [Code.USER_ALREADY_LOGGED, "taken"],
  [Code.INVALID_USERNAME, "invalid"],
  [Code.AUTHENTICATION_FAILED, "password"],
]);

/** What a logout removes from the storage. */
const PRIVATE = ["drafts", "open", "read", "session", "tab", "token"];

/**
 * Events: "state", `state` changed; "delivered" with messages; "presence" with a Presence frame;
 * "sent" with an entry of the outbox whose state changed.
 */
export class Session extends EventTarget {
  #url;
  #password;
  #secured;
  #lock;
  #connection = null;
  #failures = 0;
  #spread = false;
  #hadSession = false;
  #wasGranted = false;
  #timer = 0;
  #beat = 0;
  #acked = 0n;
  #unacked = 0n;
  #unwatch;

  constructor(url, user, password, secured) {
    super();
    this.#url = url;
    this.#password = password;
    this.#secured = secured;
    this.user = user;
    this.state = "idle";
    /** Why the session ended: "taken", "invalid", "password", "replaced", or "" after a logout. */
    this.ended = "";
    /** The detail of the server's last refusal. */
    this.detail = "";
    /**
     * Whether the last login was refused because the user is online on another device, and the server
     * does not know this browser's token: servers keep tokens in memory only.
     */
    this.isTaken = false;
    /** Time of the next reconnection, as Date.now(). */
    this.retryAt = 0;
    /** Number of messages that were pending at the login. */
    this.pending = 0;
    this.outbox = new Outbox(user, (entry) => this.#emit("sent", entry));
    this.#lock = new TabLock(user, () => this.#replaced());
    this.#unwatch = watch(user, secured ? "session" : "token", () => {
      if (this.#isLoggedOut) this.stop();
    });
    addEventListener("online", this.retry);
    document.addEventListener("visibilitychange", this.retry);
  }

  async start() {
    if (!this.#step("lock")) return;
    this.ended = this.detail = "";
    if (!(await this.#lock.take())) return;
    // After taking the lock, because until then another tab may write to the outbox.
    this.outbox.open();
    this.#connect();
  }

  /** The token of the session, with which another browser of this user can log in. */
  get token() {
    return (this.#secured ? tab.load : load)(this.user, "token", "");
  }

  /** The messages that are not stored on the server; another tab may have them. */
  get unsent() {
    if (this.state !== "ended") return this.outbox.entries;
    return load(this.user, "outbox", { entries: [] }).entries;
  }

  /** Reconnect now if the session is waiting to reconnect. */
  retry = () => {
    if (this.state === "waiting" && document.visibilityState === "visible") this.#connect();
  };

  /**
   * Log out, in any state and in all tabs of this browser. What the browser stores of the user goes,
   * except the name of the device and the highest publishing id, which a later login needs.
   */
  async stop() {
    const connection = this.#connection;
    const online = this.state === "online";
    this.#password = "";
    this.#hadSession = false;
    this.ended = this.detail = "";
    this.outbox.clear();
    this.#release();
    // The token last: the other tabs then log out as well, and must find nothing to go on with.
    tab.remove(this.user, "token");
    for (const name of PRIVATE) remove(this.user, name);
    if (!this.#step("end")) this.#emit("state");
    if (online) await connection.request("Close", { code: Code.OK, reason: "" }).catch(() => {});
    connection?.abort();
  }

  /** Send a request. Resolves with the answer, or rejects with ConnectionLost while offline. */
  async ask(name, fields) {
    if (this.state !== "online") throw new ConnectionLost();
    return this.#connection.request(name, fields);
  }

  /** Acknowledge all messages up to an offset. */
  acknowledge(offset) {
    if (offset <= this.#unacked) return;
    if (this.#unacked <= this.#acked) {
      // Send one Ack per turn of the event loop.
      queueMicrotask(() => {
        this.#acked = this.#unacked;
        this.#connection?.send("Ack", { offset: this.#acked });
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

  /** Whether another tab has logged out, perhaps while this one was frozen and could not notice. */
  get #isLoggedOut() {
    return this.#wasGranted && !(this.#secured ? load(this.user, "session", false) : this.token);
  }

  #connect() {
    clearTimeout(this.#timer);
    if (this.#isLoggedOut) {
      this.stop();
      return;
    }
    if (!this.#step("start")) return;
    let connection;
    const mine = (then) => (value) => connection === this.#connection && then(value);
    connection = this.#connection = new Connection(this.#url, {
      opened: mine(() => this.#step("opened") && this.#logIn(connection)),
      pushed: mine((frames) => this.#pushed(frames)),
      lost: mine(() => this.#lost()),
    });
    this.#timer = setTimeout(() => connection.abort(), TIMEOUT);
  }

  async #logIn(connection) {
    const properties = {
      product: "console-chat-page",
      heartbeat: String(HEARTBEAT),
      window: String(WINDOW),
      presence: "1",
      device: deviceOf(this.user),
      session: this.token,
    };
    if (this.#password) {
      properties.password = this.#password;
      // Another tab of this browser may have the session.
      if (!this.#hadSession) properties.takeover = "1";
    }
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
    } else if (FINAL.has(answer.code) && !this.#isOwnSession(answer.code)) {
      this.#end(FINAL.get(answer.code), answer.detail);
    } else {
      this.detail = answer.detail;
      this.isTaken = answer.code === Code.USER_ALREADY_LOGGED;
      connection.abort();
    }
  }

  /**
   * Return whether to retry after a refusal of a name in use: this browser had a session of the user,
   * which the server has lost, or whose loss it has not noticed.
   */
  #isOwnSession(code) {
    return (this.#hadSession || this.token !== "") && code === Code.USER_ALREADY_LOGGED;
  }

  #granted(connection, properties) {
    this.#failures = 0;
    this.#hadSession = this.#wasGranted = true;
    this.detail = "";
    this.isTaken = false;
    this.#acked = this.#unacked = 0n;
    this.pending = Number(properties.pending) || 0;
    if (this.#secured) {
      save(this.user, "session", true);
      tab.save(this.user, "token", properties.session ?? "");
    } else save(this.user, "token", properties.session ?? "");
    const heartbeat = Number(properties.heartbeat) || 0;
    if (heartbeat) this.#beat = setInterval(() => this.#heartbeat(connection), heartbeat * 400);
    this.#step("granted");
    const published = BigInt(properties["publishing-id"] ?? 0);
    this.outbox.online(connection, published, properties.resumed !== "0");
  }

  async #heartbeat(connection) {
    const timer = setTimeout(() => connection.abort(), TIMEOUT);
    try {
      await connection.request("Heartbeat");
    } catch {
      // The connection calls `lost`.
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
      else if (frame.name === "Close" && frame.code === Code.REPLACED) this.#replaced();
      else if (frame.name === "Close") this.#spread = frame.code === Code.GOING_AWAY;
    }
  }

  #lost() {
    this.#detach();
    const bound = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** Math.min(this.#failures, 10));
    const delay = this.#spread
      ? Math.random() * SPREAD
      : bound / 4 + (Math.random() * bound * 3) / 4;
    this.#failures += 1;
    this.#spread = false;
    this.retryAt = Date.now() + delay;
    if (this.#step("lost")) this.#timer = setTimeout(() => this.#connect(), delay);
  }

  /** Another tab or another program of this user has taken over the session. */
  #replaced() {
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

  /** Stop using the connection. */
  #detach() {
    this.#connection = null;
    this.outbox.offline();
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
  }

  #release() {
    this.#detach();
    this.outbox.close();
    this.#lock.release();
  }

  /** Release everything without a logout, before the page shows another user. */
  dispose() {
    const connection = this.#connection;
    this.#release();
    connection?.abort();
    this.#lock.dispose();
    this.#unwatch();
    removeEventListener("online", this.retry);
    document.removeEventListener("visibilitychange", this.retry);
  }
}
