/** What one sees of a session: conversations, people, messages, and where one writes. */

import { byteLength, Code, MAX_STRING, Scope } from "./codec.js";
import { ConnectionLost } from "./connection.js";
import { avatar, brief, el, full, icon, isolated, shown } from "./dom.js";
import { MessageList } from "./list.js";
import { dateOf, EVERYONE, keyOf, Model } from "./model.js";
import { OUTBOX_LIMIT } from "./outbox.js";
import { load, save } from "./storage.js";

const $ = (id) => document.getElementById(id);

/** Messages of a page of history, and of the first look at what there is. */
const PAGE = 100;
const FIRST_LOOK = 300;
/** Pages that are asked for at once while a conversation has too few messages in them. */
const PAGES_AT_ONCE = 8;
const USERS_PAGE = 500;
const PEOPLE_SHOWN = 150;
/** Milliseconds without a word of it after which a lost connection is shown. */
const QUIET = 800;

export class Chat {
  #left;
  #session = null;
  #model = null;
  #list;
  #open = null;
  #lastTime = 0n;
  #ticker = 0;
  #frame = 0;
  #quiet = 0;
  #filtered = [];
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
    this.#listen();
  }

  /** Show a session that is on-line. */
  open(session) {
    const user = session.user;
    this.#session = session;
    this.#model = new Model(user);
    $("me").replaceChildren(avatar(user), isolated(user, { class: "name" }));
    const mine = (then) => (event) => session === this.#session && then(event.detail);
    session.addEventListener("state", mine(() => this.#stateChanged()));
    session.addEventListener("delivered", mine((some) => this.#model.store(some, { arrived: true })));
    session.addEventListener("presence", mine((presence) => this.#model.presence(presence)));
    session.addEventListener("sent", mine((entry) => this.#model.sending(entry)));
    const model = this.#model;
    model.addEventListener("users", () => this.#renderSoon());
    model.addEventListener("conversations", () => this.#renderSoon());
    model.addEventListener("items", ({ detail }) => this.#itemsChanged(detail));
    model.addEventListener("arrived", ({ detail }) => this.#arrived(detail));
    for (const entry of session.outbox.entries) this.#restore(entry);
    const last = model.conversation(load(user, "open", EVERYONE));
    last.draft = load(user, "draft", "");
    save(user, "draft", "");
    this.#show(last, { focus: !matchMedia("(max-width: 760px)").matches });
    if (matchMedia("(max-width: 760px)").matches) this.#toSide();
    this.#stateChanged();
  }

  #restore(entry) {
    const time = BigInt(entry.time);
    if (time > this.#lastTime) this.#lastTime = time;
    this.#model.sending(entry);
  }

  // The session.

  #stateChanged() {
    const { state, ended } = this.#session;
    clearTimeout(this.#quiet);
    clearInterval(this.#ticker);
    if (state === "online") {
      this.#banner(null);
      this.#refresh();
    } else if (state === "ended" && ended === "replaced") {
      this.#model.forgetPresence();
      this.#banner("replaced");
    } else if (state === "ended") {
      this.#leave();
    } else {
      this.#model.forgetPresence();
      this.#quiet = setTimeout(() => this.#banner("offline"), $("banner").hidden ? QUIET : 0);
    }
    this.#renderSoon();
  }

  /** What there is now, after a login. */
  async #refresh() {
    const session = this.#session;
    const model = this.#model;
    try {
      const [history, users] = await Promise.all([
        session.ask("History", { with: "", before: 0n, limit: FIRST_LOOK }),
        session.ask("Users", { after: "", limit: USERS_PAGE }),
      ]);
      model.store(history.messages);
      model.settle();
      this.#takeUsers(users.users);
      if (this.#open) this.#earlier(this.#open);
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
    }
  }

  async #takeUsers(page) {
    const model = this.#model;
    while (model === this.#model) {
      const last = page.at(-1);
      model.setUsers(page, false);
      if (!last || model.moreUsers) return;
      ({ users: page } = await this.#session.ask("Users", { after: last.username, limit: USERS_PAGE }));
    }
  }

  /** Earlier messages of a conversation, until there are some. */
  async #earlier(conversation) {
    if (conversation.loading || conversation.complete) return;
    conversation.loading = true;
    const count = conversation.items.length;
    try {
      for (let pages = 0; pages < PAGES_AT_ONCE; pages += 1) {
        const answer = await this.#session.ask("History", {
          with: conversation.isEveryone ? "" : conversation.members[0],
          before: conversation.before,
          limit: PAGE,
        });
        if (answer.code !== Code.OK) break;
        if (!answer.messages.length) {
          conversation.complete = true;
          break;
        }
        conversation.before = answer.messages[0].offset;
        this.#model.store(answer.messages);
        if (conversation.items.length >= count + PAGE / 2) break;
      }
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
  }

  async #logOut() {
    const session = this.#session;
    await session.stop();
  }

  #leave() {
    const session = this.#session;
    this.#session = null;
    this.#open = null;
    this.#banner(null);
    document.title = "Console Chat";
    this.#left(session);
  }

  #banner(kind) {
    const banner = $("banner");
    clearInterval(this.#ticker);
    banner.hidden = !kind;
    banner.className = `banner ${kind ?? ""}`;
    if (kind === "replaced") {
      const again = el("button", { type: "button", onclick: () => this.#session.start() }, "Use it here");
      banner.replaceChildren("This chat is open in another tab or program. ", again);
    } else if (kind === "offline") {
      const words = el("span", { "aria-hidden": "true" });
      const say = () => {
        const { state, retryAt, detail } = this.#session;
        const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
        words.textContent = state === "waiting" && seconds > 0
          ? ` Trying again in ${seconds} s.${detail ? ` (${detail})` : ""}`
          : " Trying again…";
      };
      say();
      this.#ticker = setInterval(say, 500);
      const now = el("button", { type: "button", onclick: () => this.#session.retry() }, "Now");
      banner.replaceChildren("No connection. What you write is sent when it is back.", words, " ", now);
    }
    $("text").disabled = kind === "replaced";
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
    const phone = matchMedia("(max-width: 760px)").matches;
    return document.visibilityState === "visible" && document.hasFocus() &&
      (!phone || $("chat").classList.contains("reading"));
  }

  #arrived({ conversation, item }) {
    this.#seen();
    const where = conversation.isEveryone ? " to everyone" : conversation.members.length > 1 ? " to several" : "";
    const words = `${shown(item.from)}${where}: ${shown(excerpt(item.text))}`;
    if (conversation === this.#open || document.visibilityState === "visible") {
      $("announcer").textContent = words;
    }
    if (this.#isLookedAt && conversation === this.#open) return;
    if (!this.#notifies || document.visibilityState === "visible") return;
    const notification = new Notification(`${shown(item.from)}${where}`, {
      body: shown(excerpt(item.text)), tag: conversation.key, icon: "/mark.svg",
    });
    notification.onclick = () => {
      focus();
      this.#show(conversation);
      notification.close();
    };
  }

  #renderSoon() {
    // However much happens in a frame, it is shown once.
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (!this.#session) return;
      this.#renderConversations();
      this.#renderPeople();
      this.#renderHead();
      const { unread } = this.#model;
      document.title = unread ? `(${unread > 99 ? "99+" : unread}) Console Chat` : "Console Chat";
    });
    // Frames of a hidden tab do not come, its title is seen all the same.
    if (document.visibilityState !== "visible") {
      const { unread } = this.#model;
      document.title = unread ? `(${unread > 99 ? "99+" : unread}) Console Chat` : "Console Chat";
    }
  }

  #matches(words) {
    const wanted = $("filter").value.trim().toLocaleLowerCase();
    return !wanted || words.toLocaleLowerCase().includes(wanted);
  }

  #renderConversations() {
    const rows = this.#model.listed.filter((one) => one === this.#open || this.#matches(one.title));
    if (this.#open && !rows.includes(this.#open)) rows.unshift(this.#open);
    this.#replace($("conversations"), rows.map((one) => this.#conversationRow(one)));
  }

  #conversationRow(conversation) {
    const { last, unread } = conversation;
    const date = last && last.date;
    const single = conversation.members.length === 1 ? conversation.members[0] : "";
    const picture = conversation.isEveryone
      ? avatar("everyone", "everyone")
      : avatar(conversation.members[0], single ? undefined : "people");
    if (single && this.#model.isOnline(single)) picture.classList.add("online");
    const who = !last || last.mine ? (last ? "You: " : "") : single ? "" : `${shown(last.from)}: `;
    const row = el("button", {
      type: "button",
      class: `item${unread ? " unread" : ""}`,
      "aria-current": conversation === this.#open ? "true" : undefined,
      data: { key: conversation.key },
      onclick: () => this.#show(conversation),
    },
    picture,
    el("span", { class: "lines" },
      el("span", { class: "line" }, isolated(conversation.title, { class: "name" }),
        date ? el("time", { dateTime: date.toISOString() }, brief(date)) : null),
      el("span", { class: "line" },
        el("span", { class: "excerpt" }, last ? who : "Nothing yet", last ? isolated(excerpt(last.text)) : null),
        unread ? el("span", { class: "badge", "aria-label": `${unread} unread` }, unread > 999 ? "999+" : String(unread)) : null),
    ));
    return el("li", {}, row);
  }

  #renderPeople() {
    const { user, users } = this.#model;
    const found = [...users.values()]
      .filter(({ name }) => name !== user && this.#matches(name))
      .concat(this.#filtered.filter(({ name }) => name !== user && !users.has(name)))
      .sort((one, other) => other.online - one.online || one.name.localeCompare(other.name));
    this.#replace($("people"), found.slice(0, PEOPLE_SHOWN).map((one) => this.#personRow(one)));
    const hidden = found.length - PEOPLE_SHOWN;
    const online = [...users.values()].filter((one) => one.online && one.name !== user).length;
    $("people-title").textContent = online ? `People — ${online} on-line` : "People";
    $("people-note").textContent = hidden > 0 || this.#model.moreUsers
      ? "There are more: type to find them."
      : found.length ? "" : $("filter").value ? "Nobody of that name." : "Nobody else has been here yet.";
  }

  #personRow({ name, online, lastLogin }) {
    const picture = avatar(name);
    if (online) picture.classList.add("online");
    const seen = dateOf(lastLogin);
    return el("li", {}, el("button", {
      type: "button",
      class: `item person${online ? "" : " away"}`,
      title: online || !seen ? "" : `last here ${full(seen)}`,
      data: { name },
      onclick: () => this.#show(this.#model.conversation(keyOf([name]))),
    }, picture, isolated(name, { class: "name" }), el("span", { class: "unseen" }, online ? ", on-line" : ", away")));
  }

  /** Other rows, and the focus where it was. */
  #replace(list, rows) {
    const { activeElement } = document;
    const focused = list.contains(activeElement) ? activeElement.dataset : null;
    list.replaceChildren(...rows);
    if (!focused) return;
    const again = [...list.querySelectorAll("button")].find(
      ({ dataset }) => dataset.key === focused.key && dataset.name === focused.name,
    );
    again?.focus({ preventScroll: true });
  }

  #renderHead() {
    const conversation = this.#open;
    if (!conversation) return;
    const single = conversation.members.length === 1 ? conversation.members[0] : "";
    const picture = conversation.isEveryone
      ? avatar("everyone", "everyone")
      : avatar(conversation.members[0], single ? undefined : "people");
    const online = single && this.#model.isOnline(single);
    if (online) picture.classList.add("online");
    $("pane-avatar").replaceChildren(picture);
    $("title").replaceChildren(isolated(conversation.title));
    const person = this.#model.users.get(single);
    const seen = person && dateOf(person.lastLogin);
    let words = online ? "on-line" : "away: messages wait until the next login";
    if (single && !online && seen && seen.getTime()) words = `away, last here ${brief(seen)}`;
    if (single === this.#model.user) words = "notes to yourself";
    if (conversation.isEveryone) words = `all ${this.#model.users.size || ""}${this.#model.moreUsers ? "+" : ""} users of this server`;
    else if (!single) words = `${conversation.members.length} people and you`;
    $("subtitle").textContent = words;
    $("text").placeholder = conversation.isEveryone ? "Write to everyone" : `Write to ${shown(conversation.title)}`;
  }

  #renderBlank() {
    const conversation = this.#open;
    const isBlank = conversation && !conversation.items.length;
    $("blank").hidden = !isBlank;
    if (isBlank) {
      $("blank").textContent = conversation.complete
        ? conversation.isEveryone ? "Nothing was said to everyone yet." : "Nothing yet. Say hello: it waits if nobody is there."
        : "…";
    }
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
    $("text").addEventListener("keydown", (event) => {
      const phone = matchMedia("(pointer: coarse)").matches;
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !phone) {
        event.preventDefault();
        this.#send();
      } else if (event.key === "PageUp" || event.key === "PageDown") {
        event.preventDefault();
        const { clientHeight } = $("scroller");
        $("scroller").scrollBy({ top: clientHeight * 0.85 * (event.key === "PageUp" ? -1 : 1) });
      }
    });
    $("filter").addEventListener("input", () => this.#filter());
    $("filter").addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        const wanted = $("filter").value.trim().normalize("NFC");
        const row = document.querySelector("#people button, #conversations button:not([aria-current])");
        const exact = [...document.querySelectorAll("#people button")].find((one) => one.dataset.name === wanted);
        (exact ?? row)?.click();
        this.#clearFilter();
      }
    });
    $("back").addEventListener("click", () => {
      this.#toSide();
      document.querySelector("#conversations [aria-current]")?.focus();
    });
    $("to-end").addEventListener("click", () => {
      this.#list.toBottom();
      $("text").focus();
    });
    $("logout").addEventListener("click", () => this.#logOut());
    $("help-button").addEventListener("click", () => $("help").showModal());
    $("compose").addEventListener("click", () => this.#compose());
    this.#listenToNew();
    this.#listenToNotify();
    for (const type of ["focus", "visibilitychange"]) addEventListener(type, () => this.#session && this.#seen());
    document.addEventListener("visibilitychange", () => this.#session && this.#seen());
    document.addEventListener("keydown", (event) => this.#key(event));
    addEventListener("pagehide", () => {
      if (this.#session && this.#open) save(this.#session.user, "draft", $("text").value);
    });
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
    else if (event.altKey && event.key.toLowerCase() === "n") this.#compose();
    else if (event.altKey && event.key === "End") this.#list.toBottom();
    else if (event.key === "Escape") {
      this.#clearFilter();
      $("chat").classList.add("reading");
      $("text").focus();
    } else if (event.key === "?" && !inField) $("help").showModal();
    else return;
    event.preventDefault();
  }

  async #filter() {
    this.#renderSoon();
    const wanted = $("filter").value.trim().normalize("NFC");
    this.#filtered = [];
    if (!wanted || !this.#model.moreUsers) return;
    try {
      // Names that begin so, and the name itself: what stands right below it, and on.
      const { users } = await this.#session.ask("Users", { after: before(wanted), limit: 50 });
      if (wanted !== $("filter").value.trim().normalize("NFC")) return;
      this.#filtered = users
        .filter((one) => one.username.startsWith(wanted))
        .map((one) => ({ name: one.username, online: Boolean(one.online), lastLogin: one.lastLogin }));
      this.#renderSoon();
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
    }
  }

  #clearFilter() {
    $("filter").value = "";
    this.#filtered = [];
    this.#renderSoon();
  }

  // A message to several.

  #compose() {
    $("recipients").value = "";
    $("new-error").textContent = "";
    this.#suggest();
    $("new").showModal();
    $("recipients").focus();
  }

  get #chosen() {
    return $("recipients").value.split(",").map((one) => one.trim().normalize("NFC")).filter(Boolean);
  }

  #suggest() {
    const chosen = this.#chosen;
    const people = [...this.#model.users.values()]
      .filter(({ name }) => name !== this.#model.user && !name.includes(","))
      .sort((one, other) => other.online - one.online || one.name.localeCompare(other.name))
      .slice(0, 60);
    $("suggestions").replaceChildren(...people.map(({ name, online }) => el("li", {}, el("button", {
      type: "button",
      class: "chip",
      "aria-pressed": String(chosen.includes(name)),
      onclick: () => {
        const now = this.#chosen;
        const rest = now.includes(name) ? now.filter((one) => one !== name) : [...now, name];
        $("recipients").value = rest.join(", ");
        this.#suggest();
        [...$("suggestions").querySelectorAll("button")].find((one) => one.dataset.name === name)?.focus();
      },
      data: { name },
    }, el("span", { class: online ? "dot online" : "dot" }), isolated(name)))));
  }

  #listenToNew() {
    $("recipients").addEventListener("input", () => this.#suggest());
    $("new-cancel").addEventListener("click", () => $("new").close());
    $("new-form").addEventListener("submit", (event) => {
      const chosen = this.#chosen.filter((name) => name !== this.#model.user || this.#chosen.length === 1);
      if (!chosen.length) {
        event.preventDefault();
        $("new-error").textContent = "Name somebody.";
        return;
      }
      this.#show(this.#model.conversation(keyOf(chosen)));
    });
  }

  // Notifications.

  get #notifies() {
    return "Notification" in window && Notification.permission === "granted" && load("", "notify", false);
  }

  #listenToNotify() {
    const button = $("notify");
    const show = () => button.setAttribute("aria-pressed", String(this.#notifies));
    button.hidden = !("Notification" in window);
    button.addEventListener("click", async () => {
      const wanted = !this.#notifies;
      if (wanted && Notification.permission !== "granted") await Notification.requestPermission();
      save("", "notify", wanted);
      show();
    });
    show();
  }
}

/** The beginning of a text, on one line. */
function excerpt(text) {
  return text.slice(0, 300).replace(/\s+/g, " ");
}

/** A text that stands right below another, in the order of UTF-8 bytes, near enough to find it. */
function before(text) {
  const characters = [...text];
  const last = characters.pop().codePointAt(0);
  if (last <= 0x20) return characters.join("");
  const lower = last - 1 >= 0xd800 && last - 1 <= 0xdfff ? 0xd7ff : last - 1;
  return `${characters.join("")}${String.fromCodePoint(lower)}\u{10ffff}`;
}
