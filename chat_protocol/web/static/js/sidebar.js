/** The sidebar: conversations, people, and a filter for both. */

import { ConnectionLost } from "./connection.js";
import { avatar, brief, el, full, isolated, shown, shownName } from "./dom.js";
import { dateOf, keyOf } from "./model.js";

const $ = (id) => document.getElementById(id);

/** Maximum number of people in the list; the filter finds others. */
const PEOPLE_SHOWN = 150;
/** Maximum number of people that the filter requests from the server. */
const MAX_FOUND = 50;
/** Maximum length of the excerpt of a message, in characters. */
const EXCERPT = 300;

export class Sidebar {
  #opened;
  #session = null;
  #model = null;
  #open = null;
  #found = [];

  /** @param {(conversation) => void} opened called with the selected conversation. */
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

  /** Show the current state. */
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

  /** Remove everything, so that the next user does not see it. */
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
      // Names that begin with the text, including the text itself, follow the string below it.
      const { users } = await session.ask("Users", { after: below(wanted), limit: MAX_FOUND });
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
    else if (last && !conversation.single) who = `${shownName(last.from)}: `;
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
        el("span", { class: `excerpt ${last?.state ?? ""}` }, last ? who : "No messages yet", last ? el("bdi", {}, shown(excerpt(last.text))) : null),
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
    $("people-title").textContent = online ? `People — ${online} online` : "People";
    let note = "";
    if (found.length > PEOPLE_SHOWN || moreUsers) note = "There are more people: type a name to find them.";
    else if (!found.length) note = this.#wanted ? "No one has that name." : "No one else has registered yet.";
    $("people-note").textContent = note;
  }

  #personRow({ name, online, lastLogin }) {
    const picture = avatar(name);
    if (online) picture.classList.add("online");
    const seen = dateOf(lastLogin);
    return el("li", {}, el("button", {
      type: "button",
      class: `item person${online ? "" : " offline"}`,
      title: online || !seen ? "" : `last login ${full(seen)}`,
      data: { name },
      onclick: () => this.#opened(this.#model.conversation(keyOf([name]))),
    }, picture, isolated(name, { class: "name" }), el("span", { class: "unseen" }, online ? ", online" : ", offline")));
  }
}

/** Create the avatar of a conversation, with a dot if its only other member is online. */
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

/** Replace the rows of a list, and keep the focus. */
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

/** Return the beginning of a text, on one line. */
export function excerpt(text) {
  return text.slice(0, EXCERPT).replace(/\s+/g, " ");
}

/** Return a string that sorts just below another one in the order of UTF-8 bytes. */
function below(text) {
  const characters = [...text];
  const last = characters.pop().codePointAt(0);
  if (last <= 0x20) return characters.join("");
  const lower = last - 1 >= 0xd800 && last - 1 <= 0xdfff ? 0xd7ff : last - 1;
  return `${characters.join("")}${String.fromCodePoint(lower)}\u{10ffff}`;
}
