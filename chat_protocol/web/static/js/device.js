/** This browser as a device of a user, and the link that makes another browser one. */

import { load, save } from "./storage.js";

const FRAGMENT = /^#device=([^:]+):([\w-]+)$/;

/** Return the name of this browser's device for a user. It is chosen once, and survives a logout. */
export function deviceOf(user) {
  let name = load(user, "device", "");
  if (!name) {
    const bytes = crypto.getRandomValues(new Uint8Array(8));
    name = `web-${[...bytes].map((one) => one.toString(16).padStart(2, "0")).join("")}`;
    save(user, "device", name);
  }
  return name;
}

/** Return the link with which another browser logs in as a user, while the session of the token lasts. */
export function linkFor(user, token) {
  // Behind the #, so that no server and no proxy gets to see it.
  return `${location.origin}${location.pathname}#device=${encodeURIComponent(user)}:${token}`;
}

/** Return the user and the token of the link that the page was opened with, once; null without one. */
export function takeLink() {
  const match = FRAGMENT.exec(location.hash);
  if (!match) return null;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    return { user: decodeURIComponent(match[1]), token: match[2] };
  } catch {
    return null;
  }
}
