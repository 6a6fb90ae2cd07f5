/**
 * State that outlives the page, by user, in localStorage, which all tabs share. If the browser has no
 * localStorage, or if it is full, the state is kept in memory as long as the page is open.
 */

const PREFIX = "console-chat";
const memory = new Map();

function key(user, name) {
  return `${PREFIX}:${name}:${user}`;
}

/** Return the stored value, or `missing` if there is none. */
export function load(user, name, missing) {
  const at = key(user, name);
  try {
    const text = memory.get(at) ?? localStorage.getItem(at);
    if (text !== null) return JSON.parse(text);
  } catch {
    // There is no storage, or the value is not JSON.
  }
  return missing;
}

/** Store a value that JSON can represent. */
export function save(user, name, value) {
  const at = key(user, name);
  const text = JSON.stringify(value);
  try {
    localStorage.setItem(at, text);
    memory.delete(at);
  } catch {
    // The storage is full or missing: keep the value as long as the page is open.
    memory.set(at, text);
  }
}

/** Remove a value, from the memory of the page as well. */
export function remove(user, name) {
  const at = key(user, name);
  memory.delete(at);
  try {
    localStorage.removeItem(at);
  } catch {
    // There is no storage.
  }
}

/** Call `changed` with the new JSON text when another tab stores a value; return a function that stops it. */
export function watch(user, name, changed) {
  const heard = (event) => event.key === key(user, name) && changed(event.newValue);
  addEventListener("storage", heard);
  return () => removeEventListener("storage", heard);
}

/** The same for this tab only: it survives a reload of the tab, and nobody else gets it. */
export const tab = {
  load(user, name, missing) {
    try {
      return JSON.parse(sessionStorage.getItem(key(user, name))) ?? missing;
    } catch {
      return missing;
    }
  },
  save(user, name, value) {
    try {
      sessionStorage.setItem(key(user, name), JSON.stringify(value));
    } catch {
      // There is no storage: a reload asks for the password.
    }
  },
  remove(user, name) {
    try {
      sessionStorage.removeItem(key(user, name));
    } catch {
      // There is no storage.
    }
  },
};
