/** Whether a name and a password are right, asked without beginning a session of this browser. */

import { Connection, ConnectionLost } from "./connection.js";

/** Milliseconds that the server has to answer. */
const TIMEOUT = 20000;

/**
 * Log in without receiving: that takes nothing over from another tab, and delivers nothing. Resolves
 * with the answer; rejects with ConnectionLost, or with an Error if the name cannot be sent.
 */
export async function check(url, user, password) {
  const properties = { product: "console-chat-page", receive: "0" };
  if (password) properties.password = password;
  const answer = new Promise((resolve, reject) => {
    const connection = new Connection(url, {
      opened: () => connection.request("Login", { username: user, properties }).then(resolve, reject)
        .finally(() => connection.abort()),
      pushed: () => {},
      lost: () => reject(new ConnectionLost()),
    });
    setTimeout(() => connection.abort(), TIMEOUT);
  });
  return answer;
}
