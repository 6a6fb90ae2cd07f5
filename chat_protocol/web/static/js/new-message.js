/** The dialog that begins a conversation with one or more people. */

import { el, isolated } from "./dom.js";
import { keyOf } from "./model.js";

const $ = (id) => document.getElementById(id);

/** Maximum number of suggested people; other names can be typed. */
const SUGGESTED = 60;

export class NewMessage {
  #model = null;

  /** @param {(conversation) => void} chosen called with the conversation. */
  constructor(chosen) {
    $("recipients").addEventListener("input", () => this.#suggest());
    $("new-cancel").addEventListener("click", () => $("new").close());
    $("new-form").addEventListener("submit", (event) => {
      const names = this.#names;
      const others = names.filter((name) => name !== this.#model.user);
      if (names.length) {
        chosen(this.#model.conversation(keyOf(others.length ? others : names)));
      } else {
        event.preventDefault();
        $("new-error").textContent = "Enter at least one name.";
      }
    });
  }

  open(model) {
    this.#model = model;
    $("recipients").value = "";
    $("new-error").textContent = "";
    this.#suggest();
    $("new").showModal();
    $("recipients").focus();
  }

  get #names() {
    return $("recipients").value.split(",").map((one) => one.trim().normalize("NFC")).filter(Boolean);
  }

  #suggest() {
    const chosen = this.#names;
    const people = [...this.#model.users.values()]
      .filter(({ name }) => name !== this.#model.user && !name.includes(","))
      .sort((one, other) => other.online - one.online || one.name.localeCompare(other.name))
      .slice(0, SUGGESTED);
    $("suggestions").replaceChildren(...people.map(({ name, online }) => el("li", {}, el("button", {
      type: "button",
      class: "chip",
      "aria-pressed": String(chosen.includes(name)),
      onclick: () => this.#toggle(name),
      data: { name },
    }, el("span", { class: online ? "dot online" : "dot" }), isolated(name)))));
  }

  #toggle(name) {
    const names = this.#names;
    const rest = names.includes(name) ? names.filter((one) => one !== name) : [...names, name];
    $("recipients").value = rest.join(", ");
    this.#suggest();
    [...$("suggestions").querySelectorAll("button")].find((one) => one.dataset.name === name)?.focus();
  }
}
