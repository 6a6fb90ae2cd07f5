/** A WebSocket to the server. It matches answers to requests, and passes other frames to its owner. */

import { encode, FrameReader } from "./codec.js";

/** The connection was lost before the answer arrived. */
export class ConnectionLost extends Error {}

export class Connection {
  #socket;
  #reader = new FrameReader();
  #waiting = new Map();
  #lastId = 0;
  #ended = false;

  /** When the last data arrived, in milliseconds (performance.now()). */
  heard = performance.now();

  /**
   * @param {string} url
   * @param {{opened: () => void, pushed: (frames) => void, lost: () => void}} owner `opened` and
   *   `lost` are called at most once each, `pushed` with all frames that are not answers.
   */
  constructor(url, owner) {
    this.owner = owner;
    const socket = (this.#socket = new WebSocket(url));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#ended || owner.opened();
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = () => this.#lost();
  }

  /** Send a request. Resolves with the fields of the answer, or rejects with ConnectionLost. */
  request(name, fields = {}) {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(new ConnectionLost());
        return;
      }
      this.#lastId = (this.#lastId % 0xffffffff) + 1;
      // Encode first: on an error, the request must not remain in the map.
      const frame = encode(name, fields, this.#lastId);
      this.#waiting.set(this.#lastId, { resolve, reject });
      this.#socket.send(frame);
    });
  }

  /** Send a command that has no answer. */
  send(name, fields) {
    if (!this.#ended) this.#socket.send(encode(name, fields, 0));
  }

  /** Close the connection at once, and call the owner's `lost`. */
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
    // After the answers' promises have resolved: messages can arrive together with the login's answer.
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
