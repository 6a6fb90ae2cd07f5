/** What tells of messages that came: the title, screen readers, notifications if they are wanted. */

import { shown } from "./dom.js";
import { excerpt } from "./side.js";
import { load, save } from "./storage.js";

const $ = (id) => document.getElementById(id);

/** Milliseconds in which what comes is told together. */
const TOGETHER = 400;
/** Conversations that are notified of at a time. */
const AT_ONCE = 3;

export class News {
  #opened;
  /** The last message of each conversation that was not told of, and how many there were. */
  #news = new Map();
  #count = 0;
  #timer = 0;

  /** @param {(conversation) => void} opened told which notification was clicked. */
  constructor(opened) {
    this.#opened = opened;
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

  /** So many messages were not read. */
  count(unread) {
    document.title = unread ? `(${unread > 99 ? "99+" : unread}) Console Chat` : "Console Chat";
  }

  /** A message of somebody else's. */
  arrived(conversation, item) {
    this.#news.set(conversation, item);
    this.#count += 1;
    this.#timer ||= setTimeout(() => this.#tell(), TOGETHER);
  }

  get #notifies() {
    return "Notification" in window && Notification.permission === "granted" && load("", "notify", false);
  }

  #tell() {
    const news = [...this.#news];
    const count = this.#count;
    this.#news.clear();
    this.#count = this.#timer = 0;
    const { from, words } = told(...news.at(-1));
    $("announcer").textContent = count > 1 ? `${count} messages, the last from ${from}: ${words}` : `${from}: ${words}`;
    if (!this.#notifies || document.visibilityState === "visible") return;
    for (const [conversation, item] of news.slice(-AT_ONCE)) this.#notify(conversation, told(conversation, item));
  }

  #notify(conversation, { from, words }) {
    // The tag: one of a conversation replaces the one before.
    const notification = new Notification(from, { body: words, tag: conversation.key, icon: "/mark.svg" });
    notification.onclick = () => {
      focus();
      this.#opened(conversation);
      notification.close();
    };
  }
}

function told(conversation, item) {
  let where = "";
  if (conversation.isEveryone) where = " to everyone";
  else if (!conversation.single) where = " to several";
  return { from: `${shown(item.from)}${where}`, words: shown(excerpt(item.text)) };
}
