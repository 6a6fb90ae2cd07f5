/** The line above a conversation that explains why messages are neither sent nor received. */

import { el, shownName } from "./dom.js";

const $ = (id) => document.getElementById(id);

const OFFLINE = "Not connected. Your messages will be sent after the page has reconnected.";

let ticker = 0;

/** @param {"replaced" | "offline" | "taken" | null} kind the reason, or null to hide the banner. */
export function showBanner(kind, session) {
  const banner = $("banner");
  clearInterval(ticker);
  banner.hidden = !kind;
  banner.className = `banner ${kind ?? ""}`;
  $("text").disabled = kind === "replaced";
  if (kind === "replaced") {
    const again = el("button", { type: "button", onclick: () => session.start() }, "Use this tab");
    banner.replaceChildren("This chat is open in another tab or program. ", again);
  } else if (kind) {
    const countdown = el("span", { "aria-hidden": "true" });
    const update = () => (countdown.textContent = retryText(session));
    update();
    ticker = setInterval(update, 500);
    const now = el("button", { type: "button", onclick: () => session.retry() }, "Reconnect now");
    banner.replaceChildren(
      kind === "taken" ? takenText(session.user) : OFFLINE, countdown, " ", now);
  }
}

/** Return what to do if the user is online on another device, and the token of this browser is not valid. */
export function takenText(user) {
  return `${shownName(user)} is online on another device, and the server no longer knows the session of this browser. ` +
    'Choose "Add a device" there and open its link here, or log out there. Unsent messages are kept.';
}

function retryText({ state, retryAt, detail, isTaken }) {
  const seconds = Math.ceil((retryAt - Date.now()) / 1000);
  if (state !== "waiting" || seconds <= 0) return " Reconnecting…";
  return ` Reconnecting in ${seconds} s.${detail && !isTaken ? ` (${detail})` : ""}`;
}
