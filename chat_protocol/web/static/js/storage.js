/**
 * What outlives a page, by user: in localStorage, which all tabs share. A browser that has none, or
 * no room left, is used without: what it would have kept lasts as long as the page.
 */

const PREFIX = "console-chat";
const memory = new Map();

function key(user, name) {
  return `${PREFIX}:${name}:${user}`;
}

/** What was kept, or `missing`. */
export function load(user, name, missing) {
  const at = key(user, name);
  try {
    const text = memory.get(at) ?? localStorage.getItem(at);
    if (text !== null) return JSON.parse(text);
  } catch {
    // No storage, or somebody else's value.
  }
  return missing;
}

/** Keep a value that JSON can hold. */
export function save(user, name, value) {
  const at = key(user, name);
  const text = JSON.stringify(value);
  try {
    localStorage.setItem(at, text);
    memory.delete(at);
  } catch {
    // Full: the page goes on, and has it until it is closed.
    memory.set(at, text);
  }
}

/** Call back when another tab keeps something else under that name. */
export function watch(user, name, changed) {
  const heard = (event) => event.key === key(user, name) && changed(event.newValue);
  addEventListener("storage", heard);
  return () => removeEventListener("storage", heard);
}
