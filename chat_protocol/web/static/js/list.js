/**
 * The messages of a conversation. Only a window of them has elements. Scrolling adds and removes
 * elements at both ends, and does not move the visible messages.
 */

import { avatar, clock, day, el, full, icon, isolated, sameDay, shownName, shownText } from "./dom.js";

/** Maximum number of messages with elements, and how many are added at once. */
const MAX_ROWS = 180;
const STEP = 60;
/** Distance from an end, in pixels, at which elements are added there. */
const NEAR = 900;
/** Messages of one sender within this time, in milliseconds, are shown as a group. */
const GROUP_TIME = 5 * 60 * 1000;

const LINK = /\bhttps?:\/\/[^\s<>"'`]+[^\s<>"'`.,:;!?)\]}]/g;

export class MessageList {
  #scroller;
  #rows;
  #owner;
  #conversation = null;
  #start = 0;
  #end = 0;
  #nodes = new Map();
  #isRequested = false;
  #sticky = true;

  /**
   * @param {HTMLElement} scroller
   * @param {{earlier: (conversation) => void, act: (action, conversation, item) => void,
   *   bottom: () => void}} owner
   */
  constructor(scroller, owner) {
    this.#scroller = scroller;
    this.#owner = owner;
    this.#rows = el("div", { class: "rows" });
    scroller.append(this.#rows);
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#sticky && this.toBottom()).observe(scroller);
  }

  /** Show the end of a conversation. */
  show(conversation) {
    this.#conversation = conversation;
    const crowd = conversation.isEveryone || conversation.members.length > 1;
    this.#rows.classList.toggle("crowd", crowd);
    this.#nodes.clear();
    this.#rows.replaceChildren();
    this.#isRequested = false;
    this.toBottom();
    this.requestEarlier();
  }

  /** Show no conversation. */
  clear() {
    this.#conversation = null;
    this.#nodes.clear();
    this.#rows.replaceChildren();
  }

  get atBottom() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    return this.#isAll && scrollHeight - scrollTop - clientHeight < 60;
  }

  get #isAll() {
    return this.#end >= (this.#conversation?.items.length ?? 0);
  }

  /** Scroll to the newest message. */
  toBottom() {
    if (!this.#conversation) return;
    const { length } = this.#conversation.items;
    this.#end = length;
    this.#start = Math.max(0, length - MAX_ROWS / 2);
    this.#sync();
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#sticky = true;
    this.#owner.bottom();
  }

  /** Render a change of the conversation's items; `kind` is "earlier", "added" or "changed". */
  update(kind) {
    if (!this.#conversation) return;
    if (kind === "earlier") {
      // Earlier items shift the indexes, so find the window by its first and its last item.
      const shown = [...this.#nodes.keys()];
      const { items } = this.#conversation;
      const first = items.indexOf(shown[0]);
      const last = items.indexOf(shown.at(-1));
      if (!shown.length || this.#sticky) {
        this.toBottom();
      } else {
        this.#end = Math.max(last + 1, 0);
        this.#start = Math.max(0, Math.max(first, 0) - STEP);
        // At the top, no scroll event follows, so remove elements at the bottom.
        if (this.#scroller.scrollTop < NEAR) this.#end = Math.min(this.#end, this.#start + MAX_ROWS);
        else this.#start = Math.max(this.#start, this.#end - MAX_ROWS);
        this.#syncAnchored();
      }
      this.#isRequested = false;
      this.requestEarlier();
    } else if (this.#sticky) {
      this.toBottom();
    } else {
      this.#end = Math.min(this.#end, this.#conversation.items.length);
      this.#syncAnchored();
    }
  }

  #scrolled() {
    if (!this.#conversation) return;
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const below = scrollHeight - scrollTop - clientHeight;
    this.#sticky = this.#isAll && below < 60;
    if (scrollTop < NEAR && this.#start > 0) {
      this.#start = Math.max(0, this.#start - STEP);
      this.#end = Math.min(this.#end, this.#start + MAX_ROWS);
      this.#syncAnchored();
    } else if (below < NEAR && !this.#isAll) {
      this.#end = Math.min(this.#conversation.items.length, this.#end + STEP);
      this.#start = Math.max(this.#start, this.#end - MAX_ROWS);
      this.#syncAnchored();
    }
    this.requestEarlier();
    this.#owner.bottom();
  }

  /** Request earlier messages if the view is near the first known one. */
  requestEarlier() {
    const conversation = this.#conversation;
    if (!conversation) return;
    if (this.#start > STEP || conversation.complete || this.#isRequested) return;
    if (this.#scroller.scrollTop > 2 * NEAR) return;
    this.#isRequested = true;
    this.#owner.earlier(conversation);
  }

  /** The request for earlier messages has ended, so allow the next one. */
  requestDone() {
    this.#isRequested = false;
  }

  /** Update the elements without moving the visible messages. */
  #syncAnchored() {
    const top = this.#scroller.getBoundingClientRect().top;
    let anchor = null;
    let at = 0;
    for (const node of this.#rows.children) {
      const box = node.getBoundingClientRect();
      if (box.bottom > top && this.#conversation.byId.has(node.dataset.id)) {
        [anchor, at] = [node, box.top];
        break;
      }
    }
    this.#sync();
    if (anchor?.isConnected) {
      this.#scroller.scrollTop += anchor.getBoundingClientRect().top - at;
    }
  }

  #sync() {
    const conversation = this.#conversation;
    const nodes = new Map();
    let next = this.#rows.firstChild;
    const begins = this.#start === 0 && conversation.complete;
    for (let at = this.#start; at < this.#end; at += 1) {
      const item = conversation.items[at];
      const before = conversation.items[at - 1] ?? null;
      const look = `${before?.id ?? begins}|${item.state}|${item.why}`;
      let node = this.#nodes.get(item);
      if (!node || node.dataset.look !== look) {
        const made = this.#row(item, before);
        made.dataset.look = look;
        made.dataset.id = item.id;
        if (node?.isConnected) {
          if (next === node) next = made;
          node.replaceWith(made);
        }
        node = made;
      }
      nodes.set(item, node);
      if (node === next) next = next.nextSibling;
      else this.#rows.insertBefore(node, next);
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
    this.#nodes = nodes;
  }

  #row(item, before) {
    const conversation = this.#conversation;
    const { date } = item;
    const dated = before && before.date;
    const newDay = date && !sameDay(date, dated);
    const together =
      !newDay && before?.from === item.from && before.state !== "failed" &&
      Boolean(date && dated) && Math.abs(date - dated) < GROUP_TIME;
    const row = el("div", { class: "row" });
    if (newDay) row.append(el("div", { class: "day" }, el("span", {}, day(date))));
    const crowd = conversation.isEveryone || conversation.members.length > 1;
    const message = el("article", {
      class: ["message", item.mine && "mine", together && "together", item.state].filter(Boolean).join(" "),
    });
    if (!item.mine && crowd && !together) {
      message.append(avatar(item.from), isolated(item.from, { class: "from" }));
    } else {
      message.append(el("span", { class: "unseen" }, item.mine ? "You: " : `${shownName(item.from)}: `));
    }
    const text = el("span", { class: "text", dir: "auto" }, ...linked(shownText(item.text)));
    if (!item.text) text.append(el("i", {}, "no text"));
    const bubble = el("div", { class: "bubble" }, text);
    bubble.append(el("span", { class: "meta" },
      date ? el("time", { dateTime: date.toISOString(), title: full(date) }, clock(date)) : null,
      item.mine ? this.#state(item) : null,
    ));
    message.append(bubble);
    if (item.state === "failed") message.append(this.#failed(item));
    else if (item.state === "waiting" && item.why) {
      message.append(el("div", { class: "why" }, `The server reports: ${item.why}. The message will be sent again.`));
    }
    row.append(message);
    return row;
  }

  #state(item) {
    if (item.state === "stored") return icon("stored", "stored by the server");
    if (item.state === "failed") return icon("failed", "not sent");
    return icon("waiting", "sending");
  }

  #failed(item) {
    const conversation = this.#conversation;
    const button = (action, words) =>
      el("button", { type: "button", class: "link", onclick: () => this.#owner.act(action, conversation, item) }, words);
    return el("div", { class: "why failed" },
      `Not sent: ${item.why}.`,
      el("span", { class: "choices" }, button("again", "Send again"), button("edit", "Edit"), button("discard", "Discard")));
  }
}

/** Split a text into strings and links. Only http and https become links, without a referrer. */
function linked(text) {
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(LINK)) {
    if (!URL.canParse(found[0])) continue;
    parts.push(text.slice(at, found.index));
    parts.push(el("a", { href: found[0], target: "_blank", rel: "noopener noreferrer" }, found[0]));
    at = found.index + found[0].length;
  }
  parts.push(text.slice(at));
  return parts.filter(Boolean);
}
