/** The chat view of a session: sidebar, messages, and the message field. */

import { AddDevice } from "./add-device.js";
import { showBanner } from "./banner.js";
import { byteLength, Code, MAX_STRING, Scope } from "./codec.js";
import { ConnectionLost } from "./connection.js";
import { Drafts } from "./drafts.js";
import { avatar, icon, isNarrow, isolated } from "./dom.js";
import { showBlank, showHead } from "./head.js";
import { LeaveDialog } from "./leave.js";
import { MessageList } from "./list.js";
import { EVERYONE, Model } from "./model.js";
import { NewMessage } from "./new-message.js";
import { Notifier } from "./notifier.js";
import { OUTBOX_LIMIT } from "./outbox.js";
import { Sidebar } from "./sidebar.js";
import { load, save } from "./storage.js";

const $ = (id) => document.getElementById(id);

/** Messages per page of history, and in the first request after a login. */
const PAGE = 100;
const FIRST_PAGE = 300;
/** Maximum number of pages that are requested in a row while they contain too few messages. */
const PAGES_AT_ONCE = 8;
/** Messages per page after as many pages without a message of the conversation. */
const LARGE_PAGE = 1000;
/** Milliseconds before the next request for history, and before the retry of a refused one. */
const NEXT_DELAY = 50;
const RETRY_DELAY = 3000;
const USERS_PAGE = 500;
/** Milliseconds after the loss of the connection until the banner appears. */
const BANNER_DELAY = 800;
/** Milliseconds after the last key until a draft is stored. */
const DRAFT_DELAY = 400;

export class Chat {
  #left;
  #session = null;
  #model = null;
  #list;
  #sidebar;
  #new;
  #notifier;
  #device = new AddDevice();
  #leaving = new LeaveDialog();
  #drafts = null;
  #draftTimer = 0;
  #open = null;
  /** Another tab or program had the session, so that messages may be missing here. */
  #isStale = false;
  #lastTime = 0n;
  #frame = 0;
  #bannerTimer = 0;
  /** The kind of change to the open conversation that is not yet rendered. */
  #changed = "";

  /** @param {(session) => void} left called when the user is logged out. */
  constructor(left) {
    this.#left = left;
    for (const [id, name] of Object.entries({
      compose: "write", notify: "bell", "help-button": "keys", "add-device": "device", logout: "leave",
      back: "back",
      send: "send", "to-end": "down",
    })) {
      $(id).append(icon(name, $(id).title || "To the newest message"));
    }
    this.#list = new MessageList($("scroller"), {
      earlier: (conversation) => this.#earlier(conversation),
      act: (action, conversation, item) => this.#act(action, conversation, item),
      bottom: () => this.#seen(),
    });
    this.#sidebar = new Sidebar((conversation) => this.#show(conversation));
    this.#new = new NewMessage((conversation) => this.#show(conversation));
    this.#notifier = new Notifier((conversation) => this.#session && this.#show(conversation));
    this.#listen();
  }

  /** Show a session that is online. */
  open(session) {
    const user = session.user;
    this.#session = session;
    $("me").replaceChildren(avatar(user), isolated(user, { class: "name" }));
    const mine = (then) => (event) => session === this.#session && then(event.detail);
    session.addEventListener("state", mine(() => this.#stateChanged()));
    session.addEventListener("delivered", mine((some) => this.#model.store(some, { arrived: true })));
    session.addEventListener("presence", mine((presence) => this.#model.presence(presence)));
    session.addEventListener("sent", mine((entry) => this.#model.sending(entry)));
    this.#drafts = new Drafts(user);
    this.#begin(load(user, "open", EVERYONE));
    if (isNarrow()) this.#toSidebar();
    this.#stateChanged();
  }

  /**
   * Begin with an empty model that has the unsent messages only.
   * @param {string} key of the conversation that is opened.
   */
  #begin(key) {
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
    this.#open = null;
    this.#show(model.conversation(key), { focus: !isNarrow() });
  }

  /** Begin with an empty model, but keep the open conversation and all drafts. */
  #beginAgain() {
    const reading = $("chat").classList.contains("reading");
    this.#drafts.merge();
    this.#keepDraft();
    this.#begin(this.#open.key);
    this.#isStale = false;
    if (!reading) this.#toSidebar();
  }

  // The session.

  #stateChanged() {
    const { state, ended } = this.#session;
    clearTimeout(this.#bannerTimer);
    this.#device.update();
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
      const kind = this.#session.isTaken ? "taken" : "offline";
      const isShown = $("banner").matches(":is(.offline, .taken):not([hidden])");
      this.#bannerTimer = setTimeout(() => this.#banner(kind), isShown ? 0 : BANNER_DELAY);
    }
    this.#renderSoon();
  }

  /** Load the newest messages and the users after a login. */
  async #refresh() {
    const session = this.#session;
    const { latest } = this.#model;
    try {
      const [history, users] = await Promise.all([
        session.ask("History", { with: "", before: 0n, limit: FIRST_PAGE }),
        session.ask("Users", { after: "", limit: USERS_PAGE }),
      ]);
      const first = history.messages[0]?.offset ?? 0n;
      // Another program had the session while this one was offline, so messages may be missing.
      if (latest && first > latest && session.pending < FIRST_PAGE) this.#beginAgain();
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

  /** Load earlier messages of a conversation; if none were found, continue after a delay. */
  async #earlier(conversation) {
    if (conversation.loading || conversation.complete) return;
    conversation.loading = true;
    const count = conversation.items.length;
    let delay = 0;
    try {
      delay = await this.#loadPages(conversation, count + PAGE / 2);
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
    } finally {
      conversation.loading = false;
      if (conversation === this.#open) {
        this.#list.requestDone();
        this.#list.update(conversation.items.length > count ? "earlier" : "changed");
        this.#renderBlank();
      }
    }
    // If no message was found, no scroll event would cause the next request.
    if (delay) setTimeout(() => conversation === this.#open && this.#list.requestEarlier(), delay);
  }

  /**
   * Request pages until the conversation has `enough` messages. Returns the milliseconds to wait
   * before the next request, 0 if there are no earlier messages.
   */
  async #loadPages(conversation, enough) {
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
      if (answer.code !== Code.OK) return RETRY_DELAY;
      if (!answer.messages.length) {
        conversation.complete = true;
        return 0;
      }
      const had = conversation.items.length;
      if (!conversation.isEveryone) model.store(answer.messages);
      else if (!isRare && conversation.before === model.all) model.storeAll(answer.messages);
      // Messages of other conversations would fill the memory and leave gaps there.
      else model.store(answer.messages.filter(({ scope }) => scope === Scope.EVERYONE));
      conversation.before = answer.messages[0].offset;
      conversation.fruitless = conversation.items.length > had ? 0 : conversation.fruitless + 1;
      if (conversation.items.length >= enough) break;
    }
    return NEXT_DELAY;
  }

  #leave() {
    const session = this.#session;
    this.#session = null;
    this.#open = null;
    this.#isStale = false;
    this.#model = this.#drafts = null;
    this.#changed = "";
    clearTimeout(this.#bannerTimer);
    clearTimeout(this.#draftTimer);
    this.#banner(null);
    $("banner").replaceChildren();
    this.#list.clear();
    this.#sidebar.clear();
    this.#notifier.clear();
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    for (const id of ["text", "recipients"]) $(id).value = "";
    for (const id of ["me", "title", "subtitle", "pane-avatar", "blank", "count", "suggestions", "new-error"]) {
      $(id).replaceChildren();
    }
    $("text").placeholder = "";
    this.#left(session);
  }

  #banner(kind) {
    showBanner(kind, this.#session);
  }

  // Rendering.

  #show(conversation, { focus = true } = {}) {
    if (this.#open) this.#keepDraft();
    this.#open = conversation;
    this.#changed = "";
    save(this.#session.user, "open", conversation.key);
    $("chat").classList.add("reading");
    $("text").value = this.#drafts.of(conversation.key);
    this.#grow();
    this.#list.show(conversation);
    this.#renderHead();
    this.#renderBlank();
    this.#renderSoon();
    if (focus) $("text").focus({ preventScroll: true });
  }

  #toSidebar() {
    $("chat").classList.remove("reading");
  }

  #itemsChanged({ conversation, kind }) {
    if (conversation !== this.#open) return;
    const isScheduled = this.#changed;
    if (!isScheduled || kind === "earlier") this.#changed = kind;
    if (isScheduled) return;
    requestAnimationFrame(() => {
      const change = this.#changed;
      this.#changed = "";
      if (!this.#open) return;
      this.#list.update(change);
      this.#renderBlank();
    });
  }

  /** Mark the open conversation as read if its end is visible and the window has the focus. */
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
    this.#notifier.arrived(conversation, item);
  }

  #renderSoon() {
    if (!this.#session) return;
    // A hidden tab gets no animation frames, but its title is visible.
    if (document.visibilityState !== "visible") this.#notifier.showUnread(this.#model.unread);
    // Render at most once per frame.
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (!this.#session) return;
      this.#sidebar.show(this.#session, this.#model, this.#open);
      this.#renderHead();
      this.#notifier.showUnread(this.#model.unread);
    });
  }

  #renderHead() {
    if (this.#open) showHead(this.#open, this.#model, this.#session.state === "online");
  }

  #renderBlank() {
    if (this.#open) showBlank(this.#open);
  }

  // Sending.

  #send() {
    const text = $("text").value.replace(/\s+$/, "");
    if (!text || !this.#open) return;
    if (byteLength(text) > MAX_STRING) {
      $("count").textContent = `The message is longer than ${MAX_STRING.toLocaleString()} bytes. Split it.`;
      return;
    }
    if (this.#session.outbox.isFull) {
      $("count").textContent = `${OUTBOX_LIMIT} messages are waiting to be sent. Wait until some have been sent.`;
      return;
    }
    this.#submit(this.#open, text);
    $("text").value = "";
    this.#keepDraft();
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
    if (action === "edit") {
      // First, so that a crash loses neither this text nor the one in the composer.
      $("text").value = [item.text, $("text").value].filter(Boolean).join("\n");
      this.#keepDraft();
      this.#grow();
    }
    this.#session.outbox.discard(item.entry);
    this.#model.discard(conversation, item);
    if (action === "again") {
      this.#submit(conversation, item.text);
      this.#list.toBottom();
    }
    $("text").focus();
  }

  /** Keep what stands in the composer as the draft of the open conversation. */
  #keepDraft() {
    clearTimeout(this.#draftTimer);
    if (this.#open) this.#drafts.set(this.#open.key, $("text").value);
  }

  #draftSoon() {
    clearTimeout(this.#draftTimer);
    this.#draftTimer = setTimeout(() => this.#keepDraft(), DRAFT_DELAY);
  }

  /** Log out; if messages are not sent yet, only after the user has seen them and agreed. */
  async #logOut() {
    const session = this.#session;
    const unsent = session.unsent;
    if (!unsent.length || (await this.#leaving.ask(unsent))) {
      if (session === this.#session) session.stop();
    }
  }

  #grow() {
    const text = $("text");
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight, innerHeight * 0.35)}px`;
    const size = byteLength(text.value);
    $("count").textContent = size > MAX_STRING * 0.9 ? `${size.toLocaleString()} of ${MAX_STRING.toLocaleString()} bytes` : "";
    $("send").disabled = !text.value.trim();
  }

  // Events.

  #listen() {
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    $("text").addEventListener("input", () => {
      this.#grow();
      this.#draftSoon();
    });
    $("text").addEventListener("keydown", (event) => this.#keyInText(event));
    $("back").addEventListener("click", () => {
      this.#toSidebar();
      document.querySelector("#conversations [aria-current]")?.focus();
    });
    $("to-end").addEventListener("click", () => {
      this.#list.toBottom();
      $("text").focus();
    });
    $("logout").addEventListener("click", () => this.#logOut());
    $("add-device").addEventListener("click", () => this.#device.open(this.#session));
    $("help-button").addEventListener("click", () => $("help").showModal());
    $("compose").addEventListener("click", () => this.#new.open(this.#model));
    addEventListener("focus", () => this.#session && this.#seen());
    document.addEventListener("visibilitychange", () => this.#session && this.#seen());
    document.addEventListener("keydown", (event) => this.#key(event));
    addEventListener("pagehide", () => {
      if (this.#session && this.#session.state !== "ended") this.#keepDraft();
    });
  }

  #keyInText(event) {
    const { key, shiftKey, isComposing } = event;
    // On a phone, Enter inserts a line break.
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
      this.#toSidebar();
      $("filter").focus();
      $("filter").select();
    } else if (event.altKey && event.key === "ArrowUp") go(-1);
    else if (event.altKey && event.key === "ArrowDown") go(1);
    else if (event.altKey && event.key.toLowerCase() === "u") document.querySelector("#conversations .unread")?.click();
    else if (event.altKey && event.key.toLowerCase() === "n") this.#new.open(this.#model);
    else if (event.altKey && event.key === "End") this.#list.toBottom();
    else if (event.key === "Escape") {
      this.#sidebar.clearFilter();
      $("chat").classList.add("reading");
      $("text").focus();
    } else if (event.key === "?" && !inField) $("help").showModal();
    else return;
    event.preventDefault();
  }
}
