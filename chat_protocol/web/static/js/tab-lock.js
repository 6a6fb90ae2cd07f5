/**
 * A lock on a user's session and stored state, which one tab of a browser holds at a time: the tab
 * that requested it last. The Web Locks API is missing on pages without TLS, except from localhost.
 * Without it, a tab still learns that another tab took the lock, but the tabs do not wait for each
 * other.
 */

import { save, watch } from "./storage.js";

/** Milliseconds after which the lock is stolen from a tab that does not respond, such as a frozen one. */
const STEAL_AFTER = 2000;

export class TabLock {
  #user;
  #lost;
  #tab = crypto.getRandomValues(new Uint32Array(2)).join("-");
  #wanted = null;
  #unwatch;

  /**
   * @param {string} user
   * @param {() => void} lost called when another tab requests the lock. The owner must then stop
   *   writing to the storage and release the lock.
   */
  constructor(user, lost) {
    this.#user = user;
    this.#lost = lost;
    this.#unwatch = watch(user, "tab", (tab) => {
      if (tab && JSON.parse(tab) !== this.#tab) this.#lose();
    });
  }

  /** Request the lock. Resolves with true once this tab has it, with false if it was released first. */
  async take() {
    this.release();
    const wanted = (this.#wanted = new AbortController());
    save(this.#user, "tab", this.#tab);
    if (!navigator.locks) return true;
    const late = AbortSignal.timeout(STEAL_AFTER);
    await this.#lock(wanted, { signal: AbortSignal.any([wanted.signal, late]) })
      .catch(() => wanted.signal.aborted || this.#lock(wanted, { steal: true }));
    return !wanted.signal.aborted;
  }

  /** Resolves once the lock is held. It is held until `wanted` is aborted. */
  #lock(wanted, options) {
    let isHeld = false;
    return new Promise((resolve, reject) => {
      const held = () => {
        isHeld = true;
        resolve();
        return new Promise((end) => {
          if (wanted.signal.aborted) end();
          else wanted.signal.addEventListener("abort", end);
        });
      };
      navigator.locks.request(`console-chat:${this.#user}`, options, held).catch((error) => {
        if (isHeld) this.#lose();
        else reject(error);
      });
    });
  }

  #lose() {
    if (this.#wanted) this.#lost();
  }

  release() {
    this.#wanted?.abort();
    this.#wanted = null;
  }

  /** Release the lock and stop watching for other tabs. */
  dispose() {
    this.release();
    this.#unwatch();
  }
}
