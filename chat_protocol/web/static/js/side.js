/** The side: conversations and people, and a field that finds both. */

import { ConnectionLost } from "./connection.js";
import { avatar, brief, el, full, isolated, shown } from "./dom.js";
import { dateOf, keyOf } from "./model.js";

const $ = (id) => document.getElementById(id);

/** People that have a row; more are found by the filter. */
const PEOPLE_SHOWN = 150;
/** People that are asked for when one looks for somebody. */
const FOUND = 50;
/** Characters of a message in the row of its conversation. */
const EXCERPT = 300;

export class Side {
  #opened;
  #session = null;
  #model = null;
  #open = null;
  #found = [];

  /** @param {(conversation) => void} opened told which one is wanted. */
  constructor(opened) {
    this.#opened = opened;
    $("filter").addEventListener("input", () => this.#filter());
    $("filter").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      const wanted = this.#wanted;
      const row = document.querySelector("#people button, #conversations button:not([aria-current])");
      const exact = [...document.querySelectorAll("#people button")].find((one) => one.dataset.name === wanted);
      (exact ?? row)?.click();
      this.clearFilter();
    });
  }

  /** What there is now. */
  show(session, model, open) {
    this.#session = session;
    this.#model = model;
    this.#open = open;
    this.#render();
  }

  clearFilter() {
    $("filter").value = "";
    this.#found = [];
    if (this.#model) this.#render();
  }

  /** The next user sees nothing of this one's. */
  clear() {
    this.#session = this.#model = this.#open = null;
    this.clearFilter();
    $("conversations").replaceChildren();
    $("people").replaceChildren();
  }

  get #wanted() {
    return $("filter").value.trim().normalize("NFC");
  }

  #matches(words) {
    return words.toLocaleLowerCase().includes(this.#wanted.toLocaleLowerCase());
  }

  async #filter() {
    const session = this.#session;
    if (!session) return;
    const wanted = this.#wanted;
    this.#found = [];
    this.#render();
    if (!wanted || !this.#model.moreUsers) return;
    try {
      // Names that begin so, and the name itself: what stands right below it, and on.
      const { users } = await session.ask("Users", { after: below(wanted), limit: FOUND });
      if (wanted !== this.#wanted || session !== this.#session) return;
      this.#found = users
        .filter((one) => one.username.startsWith(wanted))
        .map((one) => ({ name: one.username, online: Boolean(one.online), lastLogin: one.lastLogin }));
      this.#render();
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
    }
  }

  #render() {
    const rows = this.#model.listed.filter((one) => one === this.#open || this.#matches(one.title));
    if (this.#open && !rows.includes(this.#open)) rows.unshift(this.#open);
    replace($("conversations"), rows.map((one) => this.#conversationRow(one)));
    this.#renderPeople();
  }

  #conversationRow(conversation) {
    const { last, unread } = conversation;
    const date = last && last.date;
    let who = "";
    if (last?.state === "failed") who = "Not sent: ";
    else if (last?.mine) who = "You: ";
    else if (last && !conversation.single) who = `${shown(last.from)}: `;
    return el("li", {}, el("button", {
      type: "button",
      class: `item${unread ? " unread" : ""}`,
      "aria-current": conversation === this.#open ? "true" : undefined,
      data: { key: conversation.key },
      onclick: () => this.#opened(conversation),
    },
    pictureOf(conversation, this.#model),
    el("span", { class: "lines" },
      el("span", { class: "line" }, isolated(conversation.title, { class: "name" }),
        date ? el("time", { dateTime: date.toISOString() }, brief(date)) : null),
      el("span", { class: "line" },
        el("span", { class: `excerpt ${last?.state ?? ""}` }, last ? who : "Nothing yet", last ? isolated(excerpt(last.text)) : null),
        ...(unread ? badge(unread) : [])),
    )));
  }

  #renderPeople() {
    const { user, users, moreUsers } = this.#model;
    const others = [...users.values()].filter(({ name }) => name !== user);
    const found = others
      .filter(({ name }) => this.#matches(name))
      .concat(this.#found.filter(({ name }) => name !== user && !users.has(name)))
      .sort((one, other) => other.online - one.online || one.name.localeCompare(other.name));
    replace($("people"), found.slice(0, PEOPLE_SHOWN).map((one) => this.#personRow(one)));
    const online = others.filter((one) => one.online).length;
    $("people-title").textContent = online ? `People — ${online} on-line` : "People";
    let note = "";
    if (found.length > PEOPLE_SHOWN || moreUsers) note = "There are more: type to find them.";
    else if (!found.length) note = this.#wanted ? "Nobody of that name." : "Nobody else has been here yet.";
    $("people-note").textContent = note;
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
      onclick: () => this.#opened(this.#model.conversation(keyOf([name]))),
    }, picture, isolated(name, { class: "name" }), el("span", { class: "unseen" }, online ? ", on-line" : ", away")));
  }
}

/** The round picture of a conversation, with a dot if it is with somebody who is there. */
export function pictureOf({ isEveryone, members, single }, model) {
  if (isEveryone) return avatar("everyone", "everyone");
  const picture = avatar(members[0], single ? undefined : "people");
  if (single && model.isOnline(single)) picture.classList.add("online");
  return picture;
}

function badge(unread) {
  const count = unread > 999 ? "999+" : String(unread);
  return [el("span", { class: "badge" }, count), el("span", { class: "unseen" }, " unread")];
}

/** Other rows, and the focus where it was. */
function replace(list, rows) {
  const { activeElement } = document;
  const focused = list.contains(activeElement) ? activeElement.dataset : null;
  list.replaceChildren(...rows);
  if (!focused) return;
  const again = [...list.querySelectorAll("button")].find(
    ({ dataset }) => dataset.key === focused.key && dataset.name === focused.name,
  );
  again?.focus({ preventScroll: true });
}

/** The beginning of a text, on one line. */
export function excerpt(text) {
  return text.slice(0, EXCERPT).replace(/\s+/g, " ");
}

/** A text that stands right below another, in the order of UTF-8 bytes, near enough to find it. */
function below(text) {
  const characters = [...text];
  const last = characters.pop().codePointAt(0);
  if (last <= 0x20) return characters.join("");
  const lower = last - 1 >= 0xd800 && last - 1 <= 0xdfff ? 0xd7ff : last - 1;
  return `${characters.join("")}${String.fromCodePoint(lower)}\u{10ffff}`;
}
