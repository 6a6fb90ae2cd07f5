/** What one sees of a session: conversations, people, messages, and where one writes. */

import { showBanner } from "./banner.js";
import { byteLength, Code, MAX_STRING, Scope } from "./codec.js";
import { ConnectionLost } from "./connection.js";
import { avatar, icon, isNarrow, isolated } from "./dom.js";
import { showBlank, showHead } from "./head.js";
import { MessageList } from "./list.js";
import { EVERYONE, Model } from "./model.js";
import { NewMessage } from "./new-message.js";
import { News } from "./news.js";
import { OUTBOX_LIMIT } from "./outbox.js";
import { Side } from "./side.js";
import { load, save } from "./storage.js";

const $ = (id) => document.getElementById(id);

/** Messages of a page of history, and of the first look at what there is. */
const PAGE = 100;
const FIRST_LOOK = 300;
/** Pages that are asked for at once while a conversation has too few messages in them. */
const PAGES_AT_ONCE = 8;
/** Messages of the pages after these: what is looked for is rare. */
const LARGE_PAGE = 1000;
/** Milliseconds before one looks further, and before one asks again what the server refused. */
const REST = 50;
const REFUSED_REST = 3000;
const USERS_PAGE = 500;
/** Milliseconds without a word of it after which a lost connection is shown. */
const QUIET = 800;

export class Chat {
  #left;
  #session = null;
  #model = null;
  #list;
  #side;
  #new;
  #news;
  #open = null;
  /** Another had the session: what was said meanwhile is not known here. */
  #isStale = false;
  #lastTime = 0n;
  #frame = 0;
  #quiet = 0;
  /** How the open conversation has changed since it was shown. */
  #changed = "";

  /** @param {(session) => void} left told when the user is logged out. */
  constructor(left) {
    this.#left = left;
    for (const [id, name] of Object.entries({
      compose: "write", notify: "bell", "help-button": "keys", logout: "leave", back: "back",
      send: "send", "to-end": "down",
    })) {
      $(id).append(icon(name, $(id).title || "To the newest message"));
    }
    this.#list = new MessageList($("scroller"), {
      earlier: (conversation) => this.#earlier(conversation),
      act: (action, conversation, item) => this.#act(action, conversation, item),
      bottom: () => this.#seen(),
    });
    this.#side = new Side((conversation) => this.#show(conversation));
    this.#new = new NewMessage((conversation) => this.#show(conversation));
    this.#news = new News((conversation) => this.#session && this.#show(conversation));
    this.#listen();
  }

  /** Show a session that is on-line. */
  open(session) {
    const user = session.user;
    this.#session = session;
    $("me").replaceChildren(avatar(user), isolated(user, { class: "name" }));
    const mine = (then) => (event) => session === this.#session && then(event.detail);
    session.addEventListener("state", mine(() => this.#stateChanged()));
    session.addEventListener("delivered", mine((some) => this.#model.store(some, { arrived: true })));
    session.addEventListener("presence", mine((presence) => this.#model.presence(presence)));
    session.addEventListener("sent", mine((entry) => this.#model.sending(entry)));
    this.#begin([[load(user, "open", EVERYONE), load(user, "draft", "")]]);
    save(user, "draft", "");
    if (isNarrow()) this.#toSide();
    this.#stateChanged();
  }

  /** Nothing is known but what waits to be sent; the first draft is that of the open conversation. */
  #begin(drafts) {
    const model = (this.#model = new Model(this.#session.user));
    const mine = (then) => ({ detail }) => model === this.#model && then(detail);
    model.addEventListener("users", mine(() => this.#renderSoon()));
    model.addEventListener("conversations", mine(() => this.#renderSoon()));
    model.addEventListener("items", mine((changed) => this.#itemsChanged(changed)));
    model.addEventListener("arrived", mine((arrived) => this.#arrived(arrived)));
    for (const entry of this.#session.outbox.entries) {
      const time = BigInt(entry.time);
      if (time > this.#lastTime) this.#lastTime = time;
      model.sending(entry);
    }
    for (const [key, draft] of drafts) model.conversation(key).draft = draft;
    this.#open = null;
    this.#show(model.conversation(drafts[0][0]), { focus: !isNarrow() });
  }

  /** As `begin`, where one is. */
  #beginAgain() {
    const reading = $("chat").classList.contains("reading");
    this.#open.draft = $("text").value;
    const others = [...this.#model.conversations.values()].filter((one) => one !== this.#open && one.draft);
    this.#begin([this.#open, ...others].map(({ key, draft }) => [key, draft]));
    this.#isStale = false;
    if (!reading) this.#toSide();
  }

  // The session.

  #stateChanged() {
    const { state, ended } = this.#session;
    clearTimeout(this.#quiet);
    if (this.#isStale && state === "connecting") {
      this.#banner(null);
      this.#beginAgain();
    }
    if (state === "online") {
      this.#banner(null);
      this.#refresh();
    } else if (state === "ended" && ended === "replaced") {
      this.#model.forgetPresence();
      this.#isStale = true;
      this.#banner("replaced");
    } else if (state === "ended") {
      this.#leave();
    } else {
      this.#model.forgetPresence();
      this.#quiet = setTimeout(() => this.#banner("offline"), $("banner").matches(".offline:not([hidden])") ? 0 : QUIET);
    }
    this.#renderSoon();
  }

  /** What there is now, after a login. */
  async #refresh() {
    const session = this.#session;
    const { latest } = this.#model;
    try {
      const [history, users] = await Promise.all([
        session.ask("History", { with: "", before: 0n, limit: FIRST_LOOK }),
        session.ask("Users", { after: "", limit: USERS_PAGE }),
      ]);
      const first = history.messages[0]?.offset ?? 0n;
      // Another program had the session while this one had no connection: there may be a gap.
      if (latest && first > latest && session.pending < FIRST_LOOK) this.#beginAgain();
      const model = this.#model;
      model.storeAll(history.messages);
      model.settle();
      if (this.#open) this.#earlier(this.#open);
      await this.#takeUsers(users.users);
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
    }
  }

  async #takeUsers(page) {
    const session = this.#session;
    const model = this.#model;
    while (model === this.#model) {
      const last = page.at(-1);
      model.setUsers(page, false);
      if (!last || model.moreUsers) return;
      ({ users: page } = await session.ask("Users", { after: last.username, limit: USERS_PAGE }));
    }
  }

  /** Earlier messages of a conversation; if there are none yet, one looks further in a moment. */
  async #earlier(conversation) {
    if (conversation.loading || conversation.complete) return;
    conversation.loading = true;
    const count = conversation.items.length;
    let rest = 0;
    try {
      rest = await this.#ask(conversation, count + PAGE / 2);
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
    } finally {
      conversation.loading = false;
      if (conversation === this.#open) {
        this.#list.unasked();
        this.#list.update(conversation.items.length > count ? "earlier" : "changed");
        this.#renderBlank();
      }
    }
    // Nobody scrolls where nothing has come.
    if (rest) setTimeout(() => conversation === this.#open && this.#list.wantEarlier(), rest);
  }

  /** Ask for pages until there are so many messages; how long to rest then, 0 for ever. */
  async #ask(conversation, enough) {
    const session = this.#session;
    const model = this.#model;
    model.skipKnown(conversation);
    for (let pages = 0; pages < PAGES_AT_ONCE; pages += 1) {
      const isRare = conversation.fruitless >= PAGES_AT_ONCE;
      const answer = await session.ask("History", {
        with: conversation.isEveryone ? "" : conversation.members[0],
        before: conversation.before,
        limit: isRare ? LARGE_PAGE : PAGE,
      });
      if (answer.code !== Code.OK) return REFUSED_REST;
      if (!answer.messages.length) {
        conversation.complete = true;
        return 0;
      }
      const had = conversation.items.length;
      if (!conversation.isEveryone) model.store(answer.messages);
      else if (!isRare && conversation.before === model.all) model.storeAll(answer.messages);
      // The others' would fill the memory, and leave gaps.
      else model.store(answer.messages.filter(({ scope }) => scope === Scope.EVERYONE));
      conversation.before = answer.messages[0].offset;
      conversation.fruitless = conversation.items.length > had ? 0 : conversation.fruitless + 1;
      if (conversation.items.length >= enough) break;
    }
    return REST;
  }

  #leave() {
    const session = this.#session;
    this.#session = null;
    this.#open = null;
    this.#isStale = false;
    this.#banner(null);
    this.#list.clear();
    this.#side.clear();
    $("text").value = "";
    document.title = "Console Chat";
    this.#left(session);
  }

  #banner(kind) {
    showBanner(kind, this.#session);
  }

  // What there is to see.

  #show(conversation, { focus = true } = {}) {
    if (this.#open) this.#open.draft = $("text").value;
    this.#open = conversation;
    this.#changed = "";
    save(this.#session.user, "open", conversation.key);
    $("chat").classList.add("reading");
    $("text").value = conversation.draft;
    this.#grow();
    this.#list.show(conversation);
    this.#renderHead();
    this.#renderBlank();
    this.#renderSoon();
    if (focus) $("text").focus({ preventScroll: true });
  }

  #toSide() {
    $("chat").classList.remove("reading");
  }

  #itemsChanged({ conversation, kind }) {
    if (conversation !== this.#open) return;
    const asked = this.#changed;
    if (!asked || kind === "earlier") this.#changed = kind;
    if (asked) return;
    requestAnimationFrame(() => {
      const now = this.#changed;
      this.#changed = "";
      if (!this.#open) return;
      this.#list.update(now);
      this.#renderBlank();
    });
  }

  /** All of the open conversation is in sight: it is read, if somebody looks. */
  #seen() {
    const { atBottom } = this.#list;
    $("to-end").hidden = atBottom;
    if (atBottom && this.#open && this.#isLookedAt) this.#model.read(this.#open);
  }

  get #isLookedAt() {
    return document.visibilityState === "visible" && document.hasFocus() &&
      (!isNarrow() || $("chat").classList.contains("reading"));
  }

  #arrived({ conversation, item }) {
    this.#seen();
    this.#news.arrived(conversation, item);
  }

  #renderSoon() {
    // Frames of a hidden tab do not come, its title is seen all the same.
    if (document.visibilityState !== "visible") this.#news.count(this.#model.unread);
    // However much happens in a frame, it is shown once.
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (!this.#session) return;
      this.#side.show(this.#session, this.#model, this.#open);
      this.#renderHead();
      this.#news.count(this.#model.unread);
    });
  }

  #renderHead() {
    if (this.#open) showHead(this.#open, this.#model, this.#session.state === "online");
  }

  #renderBlank() {
    if (this.#open) showBlank(this.#open);
  }

  // Writing.

  #send() {
    const text = $("text").value.replace(/\s+$/, "");
    if (!text || !this.#open) return;
    if (byteLength(text) > MAX_STRING) {
      $("count").textContent = "This is too long for one message.";
      return;
    }
    if (this.#session.outbox.isFull) {
      $("count").textContent = `${OUTBOX_LIMIT} messages wait to be sent already.`;
      return;
    }
    this.#submit(this.#open, text);
    $("text").value = "";
    this.#open.draft = "";
    this.#grow();
    this.#list.toBottom();
  }

  #submit(conversation, text) {
    const now = BigInt(Date.now()) * 1_000_000n;
    this.#lastTime = now > this.#lastTime ? now : this.#lastTime + 1n;
    const entry = this.#session.outbox.add({
      text,
      scope: conversation.isEveryone ? Scope.EVERYONE : Scope.USERS,
      to: conversation.members,
      time: this.#lastTime,
    });
    this.#model.sending(entry);
  }

  #act(action, conversation, item) {
    if (this.#session.state === "ended") return;
    this.#session.outbox.discard(item.entry);
    this.#model.discard(conversation, item);
    if (action === "again") {
      this.#submit(conversation, item.text);
      this.#list.toBottom();
    } else if (action === "edit") {
      $("text").value = item.text;
      this.#grow();
    }
    $("text").focus();
  }

  #grow() {
    const text = $("text");
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight, innerHeight * 0.35)}px`;
    const size = byteLength(text.value);
    $("count").textContent = size > MAX_STRING * 0.9 ? `${size.toLocaleString()} of ${MAX_STRING.toLocaleString()} bytes` : "";
    $("send").disabled = !text.value.trim();
  }

  // What one does.

  #listen() {
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    $("text").addEventListener("input", () => this.#grow());
    $("text").addEventListener("keydown", (event) => this.#keyInText(event));
    $("back").addEventListener("click", () => {
      this.#toSide();
      document.querySelector("#conversations [aria-current]")?.focus();
    });
    $("to-end").addEventListener("click", () => {
      this.#list.toBottom();
      $("text").focus();
    });
    $("logout").addEventListener("click", () => this.#session.stop());
    $("help-button").addEventListener("click", () => $("help").showModal());
    $("compose").addEventListener("click", () => this.#new.open(this.#model));
    addEventListener("focus", () => this.#session && this.#seen());
    document.addEventListener("visibilitychange", () => this.#session && this.#seen());
    document.addEventListener("keydown", (event) => this.#key(event));
    addEventListener("pagehide", () => {
      if (this.#session && this.#session.state !== "ended") save(this.#session.user, "draft", $("text").value);
    });
  }

  #keyInText(event) {
    const { key, shiftKey, isComposing } = event;
    // On a phone Enter is a new line.
    const sends = key === "Enter" && !shiftKey && !isComposing && !matchMedia("(pointer: coarse)").matches;
    if (sends) this.#send();
    else if (key === "PageUp") $("scroller").scrollBy({ top: -$("scroller").clientHeight * 0.85 });
    else if (key === "PageDown") $("scroller").scrollBy({ top: $("scroller").clientHeight * 0.85 });
    else return;
    event.preventDefault();
  }

  #key(event) {
    if (!this.#session || document.querySelector("dialog[open]")) return;
    const inField = /^(INPUT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
    const rows = [...document.querySelectorAll("#conversations button")];
    const go = (step) => {
      const at = rows.findIndex((one) => one.getAttribute("aria-current"));
      rows[(at + step + rows.length) % rows.length]?.click();
    };
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      this.#toSide();
      $("filter").focus();
      $("filter").select();
    } else if (event.altKey && event.key === "ArrowUp") go(-1);
    else if (event.altKey && event.key === "ArrowDown") go(1);
    else if (event.altKey && event.key.toLowerCase() === "u") document.querySelector("#conversations .unread")?.click();
    else if (event.altKey && event.key.toLowerCase() === "n") this.#new.open(this.#model);
    else if (event.altKey && event.key === "End") this.#list.toBottom();
    else if (event.key === "Escape") {
      this.#side.clearFilter();
      $("chat").classList.add("reading");
      $("text").focus();
    } else if (event.key === "?" && !inField) $("help").showModal();
    else return;
    event.preventDefault();
  }
}
