/** The unsent text of each conversation, kept in the browser's storage until the logout. */

import { load, save } from "./storage.js";

/** Maximum number of conversations with a draft; the oldest draft is dropped first. */
const MAX_DRAFTS = 100;
/** Maximum length of all drafts but the newest, in UTF-16 units. Browsers store about 5 million. */
const MAX_LENGTH = 300_000;

export class Drafts {
  #user;
  /** By the key of the conversation, the newest last. */
  #texts;

  constructor(user) {
    this.#user = user;
    this.#texts = stored(user);
  }

  /** Return the draft of a conversation, "" without one. */
  of(key) {
    return this.#texts.get(key) ?? "";
  }

  /** Keep a draft; "" removes it. */
  set(key, text) {
    if (text === this.of(key)) return;
    this.#texts.delete(key);
    if (text) this.#texts.set(key, text);
    this.#bound();
    save(this.#user, "drafts", [...this.#texts]);
  }

  /** Add what another tab of this browser has stored; the drafts of this tab win. */
  merge() {
    this.#texts = new Map([...stored(this.#user), ...this.#texts]);
  }

  #bound() {
    let count = 0;
    let length = 0;
    for (const [key, text] of [...this.#texts].reverse()) {
      count += 1;
      length += text.length;
      if (count > 1 && (count > MAX_DRAFTS || length > MAX_LENGTH)) this.#texts.delete(key);
    }
  }
}

function stored(user) {
  const found = load(user, "drafts", []);
  const pairs = Array.isArray(found) ? found : [];
  return new Map(pairs.filter((one) => Array.isArray(one) && one.length === 2 && one.every((part) => typeof part === "string")));
}
