/** The line above a conversation that says why nothing comes or goes. */

import { el } from "./dom.js";

const $ = (id) => document.getElementById(id);

let ticker = 0;

/** @param {"replaced" | "offline" | null} kind why, or nothing is wrong. */
export function showBanner(kind, session) {
  const banner = $("banner");
  clearInterval(ticker);
  banner.hidden = !kind;
  banner.className = `banner ${kind ?? ""}`;
  $("text").disabled = kind === "replaced";
  if (kind === "replaced") {
    const again = el("button", { type: "button", onclick: () => session.start() }, "Use it here");
    banner.replaceChildren("This chat is open in another tab or program. ", again);
  } else if (kind === "offline") {
    const words = el("span", { "aria-hidden": "true" });
    const say = () => (words.textContent = whenAgain(session));
    say();
    ticker = setInterval(say, 500);
    const now = el("button", { type: "button", onclick: () => session.retry() }, "Now");
    banner.replaceChildren("No connection. What you write is sent when it is back.", words, " ", now);
  }
}

function whenAgain({ state, retryAt, detail }) {
  const seconds = Math.ceil((retryAt - Date.now()) / 1000);
  if (state !== "waiting" || seconds <= 0) return " Trying again…";
  return ` Trying again in ${seconds} s.${detail ? ` (${detail})` : ""}`;
}
