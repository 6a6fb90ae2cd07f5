/** Announce new messages: in the title, to screen readers, and by notifications if they are enabled. */

import { shown, shownName } from "./dom.js";
import { excerpt } from "./sidebar.js";
import { load, save } from "./storage.js";

const $ = (id) => document.getElementById(id);

/** Messages within this time, in milliseconds, are announced together. */
const COLLECT_TIME = 400;
/** Maximum number of notifications at a time, one per conversation. */
const MAX_NOTIFICATIONS = 3;

export class Notifier {
  #opened;
  /** The newest unannounced message of each conversation, and the number of unannounced messages. */
  #unannounced = new Map();
  #count = 0;
  #timer = 0;
  #open = new Set();

  /** @param {(conversation) => void} opened called with the conversation of a clicked notification. */
  constructor(opened) {
    this.#opened = opened;
    const button = $("notify");
    const show = () => button.setAttribute("aria-pressed", String(this.#isEnabled));
    button.hidden = !("Notification" in window);
    button.addEventListener("click", async () => {
      const wanted = !this.#isEnabled;
      if (wanted && Notification.permission !== "granted") await Notification.requestPermission();
      save("", "notify", wanted);
      show();
    });
    show();
  }

  /** Show the number of unread messages in the title. */
  showUnread(unread) {
    document.title = unread ? `(${unread > 99 ? "99+" : unread}) Console Chat` : "Console Chat";
  }

  /** Announce a message of another user. */
  arrived(conversation, item) {
    this.#unannounced.set(conversation, item);
    this.#count += 1;
    this.#timer ||= setTimeout(() => this.#announce(), COLLECT_TIME);
  }

  /** Close all notifications and announce nothing more: the user has logged out. */
  clear() {
    clearTimeout(this.#timer);
    this.#count = this.#timer = 0;
    this.#unannounced.clear();
    for (const one of this.#open) one.close();
    this.#open.clear();
    $("announcer").textContent = "";
    document.title = "Console Chat";
  }

  get #isEnabled() {
    return "Notification" in window && Notification.permission === "granted" && load("", "notify", false);
  }

  #announce() {
    const newest = [...this.#unannounced];
    const count = this.#count;
    this.#unannounced.clear();
    this.#count = this.#timer = 0;
    const { from, body } = describe(...newest.at(-1));
    $("announcer").textContent = count > 1 ? `${count} messages, the last from ${from}: ${body}` : `${from}: ${body}`;
    if (!this.#isEnabled || document.visibilityState === "visible") return;
    for (const [conversation, item] of newest.slice(-MAX_NOTIFICATIONS)) {
      this.#notify(conversation, describe(conversation, item));
    }
  }

  #notify(conversation, { from, body }) {
    // Because of the tag, a notification replaces the previous one of its conversation.
    const notification = new Notification(from, { body, tag: conversation.key, icon: "/mark.svg" });
    this.#open.add(notification);
    notification.onclose = () => this.#open.delete(notification);
    notification.onclick = () => {
      // A click that was on its way at the logout must not open the former user's conversation.
      if (!this.#open.has(notification)) return;
      focus();
      this.#opened(conversation);
      notification.close();
    };
  }
}

function describe(conversation, item) {
  let where = "";
  if (conversation.isEveryone) where = " to everyone";
  else if (!conversation.single) where = " to several people";
  return { from: `${shownName(item.from)}${where}`, body: shown(excerpt(item.text)) };
}
