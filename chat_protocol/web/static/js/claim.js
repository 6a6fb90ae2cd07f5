/**
 * One tab of a browser has a user's session, and what is kept of it, at a time: the one that asked
 * for it last. Where browsers have no locks (pages that came without TLS from elsewhere than
 * localhost) tabs are told all the same, but do not wait for each other.
 */

import { save, watch } from "./storage.js";

/** Milliseconds until a tab that does not answer, frozen perhaps, has lost it. */
const PATIENCE = 2000;

export class Claim {
  #user;
  #lost;
  #tab = crypto.getRandomValues(new Uint32Array(2)).join("-");
  #wanted = null;
  #unwatch;

  /**
   * @param {string} user
   * @param {() => void} lost told when another tab wants it: write nothing any more, and release.
   */
  constructor(user, lost) {
    this.#user = user;
    this.#lost = lost;
    this.#unwatch = watch(user, "tab", (tab) => {
      if (tab && JSON.parse(tab) !== this.#tab) this.#lose();
    });
  }

  /** Resolves with true when this tab has it, with false if it was given up meanwhile. */
  async take() {
    this.release();
    const wanted = (this.#wanted = new AbortController());
    save(this.#user, "tab", this.#tab);
    if (!navigator.locks) return true;
    const late = AbortSignal.timeout(PATIENCE);
    await this.#lock(wanted, { signal: AbortSignal.any([wanted.signal, late]) })
      .catch(() => wanted.signal.aborted || this.#lock(wanted, { steal: true }));
    return !wanted.signal.aborted;
  }

  /** Resolves when the lock is there, which is kept until nobody here wants it. */
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

  /** It is not wanted any more, for good. */
  dispose() {
    this.release();
    this.#unwatch();
  }
}
