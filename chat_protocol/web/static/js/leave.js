/** The dialog that names the unsent messages before a logout discards them. */

import { el, isolated, shown } from "./dom.js";
import { excerpt } from "./sidebar.js";

const $ = (id) => document.getElementById(id);

/** Maximum number of messages in the list; the others are counted. */
const NAMED = 20;

export class LeaveDialog {
  constructor() {
    $("leave-cancel").addEventListener("click", () => $("leave").close());
  }

  /** Show the messages. Resolves with whether to discard them, once the dialog has closed. */
  async ask(entries) {
    const dialog = $("leave");
    const rows = entries.slice(0, NAMED).map(({ to, text }) =>
      el("li", {}, isolated(to.length ? to.join(", ") : "Everyone"), ": ", el("bdi", {}, shown(excerpt(text)))));
    if (entries.length > NAMED) rows.push(el("li", {}, `and ${entries.length - NAMED} more`));
    $("leave-list").replaceChildren(...rows);
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    $("leave-list").replaceChildren();
    return dialog.returnValue === "out";
  }
}
