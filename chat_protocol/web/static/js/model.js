/** The users, and the messages by conversation, in the order of their offsets. */

import { Scope } from "./codec.js";
import { load, save } from "./storage.js";

/** The key of the conversation with everyone. It is not a valid name: names have no control characters. */
export const EVERYONE = "\u0001everyone";

/** Maximum number of users in memory; the filter of the sidebar finds others. */
export const USERS_KEPT = 2000;

/** Maximum number of conversations whose read position is stored. */
const READ_KEPT = 500;

/**
 * Convert the time of a message to a Date, or to null if it has none. Senders write seconds,
 * milliseconds, microseconds or nanoseconds since the epoch.
 */
export function dateOf(time) {
  let value = time;
  if (value > 100_000_000_000_000_000n) value /= 1_000_000n;
  else if (value > 100_000_000_000_000n) value /= 1000n;
  else if (value < 100_000_000_000n) value *= 1000n;
  const date = new Date(Number(value));
  return value > 0n && date.getFullYear() < 10000 ? date : null;
}

/** Return the key of the conversation with these users. */
export function keyOf(names) {
  return [...new Set(names)].sort().join("\n");
}

export class Conversation {
  constructor(key) {
    this.key = key;
    this.isEveryone = key === EVERYONE;
    this.members = this.isEveryone ? [] : key.split("\n");
    /** The messages in their order: {id, offset, from, to, text, date, state, why, mine}. */
    this.items = [];
    /** Whether the server has no message before the first one. */
    this.complete = false;
    /** Offset below which to request earlier messages; 0: none were requested. */
    this.before = 0n;
    /** Number of consecutive pages without a message of this conversation. */
    this.fruitless = 0;
    this.loading = false;
    this.unread = 0;
    /** Position in the list of conversations; a new message raises it. */
    this.rank = 0n;
    this.byId = new Map();
  }

  get title() {
    return this.isEveryone ? "Everyone" : this.members.join(", ");
  }

  /** The name of the other member, if there is exactly one. */
  get single() {
    return this.members.length === 1 ? this.members[0] : "";
  }

  get last() {
    return this.items.at(-1) ?? null;
  }

  /** The highest known offset. */
  get newest() {
    return this.items.findLast((item) => item.offset)?.offset ?? 0n;
  }
}

/**
 * Events: "users", the users changed; "conversations", the list of conversations changed; "items"
 * with {conversation, kind}, where kind is "added", "changed" or "earlier"; "arrived" with
 * {conversation, item}, a new message of another user.
 */
export class Model extends EventTarget {
  #read;

  constructor(user) {
    super();
    this.user = user;
    /** The highest offset of all messages. */
    this.latest = 0n;
    /** From this offset on, the messages of all conversations are known; 0: none were requested. */
    this.all = 0n;
    this.users = new Map();
    this.moreUsers = false;
    this.conversations = new Map();
    this.#read = new Map(
      load(user, "read", []).map(([key, offset]) => [key, BigInt(offset)]),
    );
    /** On the first visit, messages from the history count as read. */
    this.firstVisit = !this.#read.size;
    this.conversation(EVERYONE);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Return the conversation with that key; create it if necessary. */
  conversation(key) {
    let found = this.conversations.get(key);
    if (!found) {
      found = new Conversation(key);
      this.conversations.set(key, found);
      this.#emit("conversations");
    }
    return found;
  }

  /** Return the conversation of a message. */
  of(message) {
    if (message.scope === Scope.EVERYONE) return this.conversation(EVERYONE);
    const others = [message.from, ...message.to].filter((name) => name !== this.user);
    return this.conversation(keyOf(others.length ? others : [this.user]));
  }

  /** Add messages, delivered ones (`arrived`) or messages from the history. */
  store(messages, { arrived = false } = {}) {
    const changed = new Map();
    for (const message of messages) {
      const conversation = this.of(message);
      const item = this.#place(conversation, message, arrived);
      if (!item) continue;
      changed.set(conversation, item);
      if (item.mine) continue;
      const read = this.#read.get(conversation.key) ?? 0n;
      if (message.offset > read && (arrived || !this.firstVisit)) {
        conversation.unread += 1;
        if (arrived) this.#emit("arrived", { conversation, item });
      }
    }
    for (const conversation of changed.keys()) {
      this.#emit("items", { conversation, kind: arrived ? "added" : "earlier" });
    }
    if (changed.size) this.#emit("conversations");
    return changed.size;
  }

  /** Add consecutive messages of all conversations that reach up to the newest or to `all`. */
  storeAll(messages) {
    this.store(messages);
    const first = messages[0]?.offset ?? 0n;
    if (first && (!this.all || first < this.all)) this.all = first;
  }

  /** Do not request messages of a conversation that are already known. */
  skipKnown(conversation) {
    const { all } = this;
    if (all && (!conversation.before || conversation.before > all)) conversation.before = all;
  }

  /** Insert a message; return its item, or null if it was already there. */
  #place(conversation, message, arrived) {
    const mine = message.from === this.user;
    const id = `o${message.offset}`;
    if (conversation.byId.has(id)) return null;
    // The time identifies the server's copy of a message that was sent from this page.
    const sent = mine && conversation.byId.get(`t${message.time}`);
    if (sent && !sent.offset) {
      sent.offset = message.offset;
      conversation.byId.set(id, sent);
      this.#rankUp(conversation, sent);
      return this.#move(conversation, sent);
    }
    const item = {
      id,
      offset: message.offset,
      from: message.from,
      to: message.to,
      text: message.message,
      // A message without a time gets the time of its arrival.
      date: dateOf(message.time) ?? (arrived ? new Date() : null),
      state: "stored",
      why: "",
      mine,
    };
    conversation.byId.set(id, item);
    this.#rankUp(conversation, item);
    const { items } = conversation;
    // A message that was sent from this page has no offset until the history returns it. Until then
    // it is older than arriving messages and newer than all history.
    const isBefore = (one) => (one.offset ? one.offset < item.offset : arrived && one.state !== "waiting");
    let at = items.length;
    while (at > 0 && !isBefore(items[at - 1])) at -= 1;
    items.splice(at, 0, item);
    return item;
  }

  #rankUp(conversation, { offset }) {
    if (offset > this.latest) this.latest = offset;
    if (2n * offset > conversation.rank) conversation.rank = 2n * offset;
  }

  /**
   * Move an own message to the place of its offset, which became known later: messages that arrived
   * before its answer may stand in front of it. Return the item if it moved, else null.
   */
  #move(conversation, item) {
    const { items } = conversation;
    const was = items.indexOf(item);
    // Own messages without an offset keep their order: they are sent one at a time.
    const isBefore = (one, index) => (one.offset ? one.offset < item.offset : index < was);
    let at = items.length;
    while (at > 0 && (at - 1 === was || !isBefore(items[at - 1], at - 1))) at -= 1;
    const to = at > was ? at - 1 : at;
    if (to === was) return null;
    items.splice(was, 1);
    items.splice(to, 0, item);
    return item;
  }

  /** Add or update a message of this user from its entry in the outbox. */
  sending(entry) {
    const conversation = this.of({ ...entry, from: this.user });
    const id = `t${entry.time}`;
    let item = conversation.byId.get(id);
    const kind = item ? "changed" : "added";
    if (!item) {
      item = { id, offset: 0n, from: this.user, to: entry.to, text: entry.text, mine: true };
      item.date = dateOf(BigInt(entry.time));
      conversation.rank = 2n * this.latest + 1n;
      conversation.byId.set(id, item);
      conversation.items.push(item);
    }
    item.state = entry.state;
    item.why = entry.why;
    item.entry = entry;
    this.#emit("items", { conversation, kind, item });
    this.#emit("conversations");
    return conversation;
  }

  /** Remove a message that was not stored. */
  discard(conversation, item) {
    conversation.byId.delete(item.id);
    conversation.items = conversation.items.filter((one) => one !== item);
    this.#emit("items", { conversation, kind: "changed" });
    this.#emit("conversations");
  }

  /** Mark all messages of a conversation as read. */
  read(conversation) {
    const { newest } = conversation;
    if (!conversation.unread && newest <= (this.#read.get(conversation.key) ?? 0n)) return;
    conversation.unread = 0;
    if (newest) {
      this.#read.delete(conversation.key);
      this.#read.set(conversation.key, newest);
      for (const key of this.#read.keys()) {
        if (this.#read.size <= READ_KEPT) break;
        this.#read.delete(key);
      }
      this.#keepRead();
    }
    this.#emit("conversations");
  }

  /** End the first visit: mark all conversations without unread messages as read. */
  settle() {
    if (!this.firstVisit) return;
    for (const conversation of this.conversations.values()) {
      if (conversation.newest && !conversation.unread) {
        this.#read.set(conversation.key, conversation.newest);
      }
    }
    this.firstVisit = false;
    if (!this.#read.size) this.#read.set(EVERYONE, 0n);
    this.#keepRead();
  }

  #keepRead() {
    save(this.user, "read", [...this.#read].map(([key, offset]) => [key, String(offset)]));
  }

  get unread() {
    let sum = 0;
    for (const conversation of this.conversations.values()) sum += conversation.unread;
    return sum;
  }

  /** The conversations that have messages, newest first, and the one with everyone. */
  get listed() {
    return [...this.conversations.values()]
      .filter((one) => one.last || one.isEveryone)
      .sort((one, other) => (one.rank < other.rank ? 1 : one.rank > other.rank ? -1 : 0));
  }

  /** Add or update users; `more` tells whether the server has more. */
  setUsers(page, more) {
    for (const { username, online, lastLogin } of page) {
      if (this.users.size >= USERS_KEPT && !this.users.has(username)) {
        this.moreUsers = true;
        break;
      }
      this.users.set(username, { name: username, online: Boolean(online), lastLogin });
    }
    this.moreUsers ||= more;
    this.#emit("users");
  }

  presence({ username, online, time }) {
    const known = this.users.get(username);
    if (known) {
      known.online = Boolean(online);
      if (online) known.lastLogin = time;
      this.#emit("users");
    } else {
      this.setUsers([{ username, online, lastLogin: time }], false);
    }
  }

  /** Show all users as offline after the connection was lost. */
  forgetPresence() {
    for (const user of this.users.values()) user.online = false;
    this.#emit("users");
  }

  isOnline(name) {
    return this.users.get(name)?.online ?? false;
  }
}
