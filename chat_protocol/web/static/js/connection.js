/** One WebSocket to the server: requests find their answers, everything else is handed on. */

import { encode, FrameReader } from "./codec.js";

/** The connection ended before the answer came. */
export class ConnectionLost extends Error {}

export class Connection {
  #socket;
  #reader = new FrameReader();
  #waiting = new Map();
  #lastId = 0;
  #ended = false;

  /** When something came in last, in milliseconds. */
  heard = performance.now();

  /**
   * @param {string} url
   * @param {{opened: () => void, pushed: (frames) => void, lost: () => void}} owner told each at
   *   most once, but pushed whenever frames came that answer nothing.
   */
  constructor(url, owner) {
    this.owner = owner;
    const socket = (this.#socket = new WebSocket(url));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#ended || owner.opened();
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = () => this.#lost();
  }

  /** Ask; resolves with the answer's fields, rejects with ConnectionLost. */
  request(name, fields = {}) {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(new ConnectionLost());
        return;
      }
      this.#lastId = (this.#lastId % 0xffffffff) + 1;
      // Before it waits for an answer: what cannot be encoded is thrown here.
      const frame = encode(name, fields, this.#lastId);
      this.#waiting.set(this.#lastId, { resolve, reject });
      this.#socket.send(frame);
    });
  }

  /** Say what has no answer. */
  tell(name, fields) {
    if (!this.#ended) this.#socket.send(encode(name, fields, 0));
  }

  /** End it now; the owner is told. */
  abort() {
    this.#socket.close();
    this.#lost();
  }

  #received(data) {
    if (this.#ended) return;
    this.heard = performance.now();
    let frames;
    try {
      frames = this.#reader.push(new Uint8Array(data));
    } catch (error) {
      console.error(error);
      this.abort();
      return;
    }
    const pushed = [];
    for (const frame of frames) {
      const waiting = frame.correlationId && this.#waiting.get(frame.correlationId);
      if (waiting) {
        this.#waiting.delete(frame.correlationId);
        waiting.resolve(frame);
      } else {
        pushed.push(frame);
      }
    }
    // Behind those who wait for the answers: the first messages may come along with the login's.
    if (pushed.length) queueMicrotask(() => this.#ended || this.owner.pushed(pushed));
  }

  #lost() {
    if (this.#ended) return;
    this.#ended = true;
    for (const { reject } of this.#waiting.values()) reject(new ConnectionLost());
    this.#waiting.clear();
    this.owner.lost();
  }
}
