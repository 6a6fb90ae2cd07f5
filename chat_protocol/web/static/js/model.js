/** Who there is, and what was said: by conversation, in the order of the offsets. */

import { Scope } from "./codec.js";
import { load, save } from "./storage.js";

/** The conversation of what goes to everyone; no name has a control character. */
export const EVERYONE = "\u0001everyone";

/** Users that are kept; others are found by the filter. */
export const USERS_KEPT = 2000;

/** Conversations of which it is kept how far they were read. */
const READ_KEPT = 500;

/** A time as senders write it - seconds to nanoseconds since the epoch - as a Date, or null. */
export function dateOf(time) {
  let value = time;
  if (value > 100_000_000_000_000_000n) value /= 1_000_000n;
  else if (value > 100_000_000_000_000n) value /= 1000n;
  else if (value < 100_000_000_000n) value *= 1000n;
  const date = new Date(Number(value));
  return value > 0n && date.getFullYear() < 10000 ? date : null;
}

/** The key of a conversation with these people. */
export function keyOf(names) {
  return [...new Set(names)].sort().join("\n");
}

export class Conversation {
  constructor(key) {
    this.key = key;
    this.isEveryone = key === EVERYONE;
    this.members = this.isEveryone ? [] : key.split("\n");
    /** Messages in their order: {id, offset, from, to, text, date, state, why, mine}. */
    this.items = [];
    /** Whether the server has none before the first. */
    this.complete = false;
    /** Where to ask for earlier ones: an offset that is not below the first. */
    this.before = 0n;
    /** Pages one after the other that had none of its messages. */
    this.fruitless = 0;
    this.loading = false;
    this.unread = 0;
    /** Grows with what happens here: where it stands in the list. */
    this.rank = 0n;
    this.draft = "";
    this.byId = new Map();
  }

  get title() {
    return this.isEveryone ? "Everyone" : this.members.join(", ");
  }

  /** The other one's name, if there is just one. */
  get single() {
    return this.members.length === 1 ? this.members[0] : "";
  }

  get last() {
    return this.items.at(-1) ?? null;
  }

  /** The greatest offset that is known. */
  get newest() {
    return this.items.findLast((item) => item.offset)?.offset ?? 0n;
  }
}

/**
 * Events: "users"; "conversations", the list of them is another; "items" with {conversation, kind},
 * kind one of added, changed, earlier; "arrived" with {conversation, item}, of somebody else's and new.
 */
export class Model extends EventTarget {
  #read;

  constructor(user) {
    super();
    this.user = user;
    /** The greatest offset that was seen. */
    this.latest = 0n;
    /** From this offset on all messages are here, of every conversation; 0: none were asked for. */
    this.all = 0n;
    this.users = new Map();
    this.moreUsers = false;
    this.conversations = new Map();
    this.#read = new Map(
      load(user, "read", []).map(([key, offset]) => [key, BigInt(offset)]),
    );
    /** What is older than the first visit counts as read. */
    this.firstVisit = !this.#read.size;
    this.conversation(EVERYONE);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** The conversation of that key, a new one if there is none. */
  conversation(key) {
    let found = this.conversations.get(key);
    if (!found) {
      found = new Conversation(key);
      this.conversations.set(key, found);
      this.#emit("conversations");
    }
    return found;
  }

  /** That of a message or a history entry. */
  of(message) {
    if (message.scope === Scope.EVERYONE) return this.conversation(EVERYONE);
    const others = [message.from, ...message.to].filter((name) => name !== this.user);
    return this.conversation(keyOf(others.length ? others : [this.user]));
  }

  /** Messages that came, by delivery or from the history. */
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

  /** Messages of all conversations that follow each other, up to the last or to those that are here. */
  storeAll(messages) {
    this.store(messages);
    const first = messages[0]?.offset ?? 0n;
    if (first && (!this.all || first < this.all)) this.all = first;
  }

  /** What is here already need not be asked for. */
  skipKnown(conversation) {
    const { all } = this;
    if (all && (!conversation.before || conversation.before > all)) conversation.before = all;
  }

  /** Its item, or null if it was there. */
  #place(conversation, message, arrived) {
    const mine = message.from === this.user;
    const id = `o${message.offset}`;
    if (conversation.byId.has(id)) return null;
    // The server's copy of what was sent from here is known by its time.
    const sent = mine && conversation.byId.get(`t${message.time}`);
    if (sent && !sent.offset) {
      sent.offset = message.offset;
      conversation.byId.set(id, sent);
      return null;
    }
    const item = {
      id,
      offset: message.offset,
      from: message.from,
      to: message.to,
      text: message.message,
      // A sender may write no time; then it is when the message came.
      date: dateOf(message.time) ?? (arrived ? new Date() : null),
      state: "stored",
      why: "",
      mine,
    };
    conversation.byId.set(id, item);
    if (item.offset > this.latest) this.latest = item.offset;
    if (2n * item.offset > conversation.rank) conversation.rank = 2n * item.offset;
    const { items } = conversation;
    // What was sent from here has an offset when it comes back in the history; until then it is
    // older than what arrives, and newer than any history.
    const isBefore = (one) => (one.offset ? one.offset < item.offset : arrived && one.state !== "waiting");
    let at = items.length;
    while (at > 0 && !isBefore(items[at - 1])) at -= 1;
    items.splice(at, 0, item);
    return item;
  }

  /** A message of one's own, on its way: an entry of the outbox. */
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

  /** A message that was not stored is taken back. */
  discard(conversation, item) {
    conversation.byId.delete(item.id);
    conversation.items = conversation.items.filter((one) => one !== item);
    this.#emit("items", { conversation, kind: "changed" });
    this.#emit("conversations");
  }

  /** All of a conversation was seen. */
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

  /** The first visit is over: what is there by now was read, as far as anybody knows. */
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

  /** Conversations with something in them, the latest first; everyone's always. */
  get listed() {
    return [...this.conversations.values()]
      .filter((one) => one.last || one.isEveryone)
      .sort((one, other) => (one.rank < other.rank ? 1 : one.rank > other.rank ? -1 : 0));
  }

  /** A page of users. */
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

  /** Nobody is known to be there: the connection is gone. */
  forgetPresence() {
    for (const user of this.users.values()) user.online = false;
    this.#emit("users");
  }

  isOnline(name) {
    return this.users.get(name)?.online ?? false;
  }
}
