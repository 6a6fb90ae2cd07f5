/** The dialog with the link for another browser, and its QR code. */

import { linkFor } from "./device.js";
import { qrCode } from "./qr.js";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
/** Light modules around a QR code. */
const MARGIN = 4;

export class AddDevice {
  #session = null;

  constructor() {
    $("device-copy").addEventListener("click", async () => {
      $("device-link").select();
      try {
        await navigator.clipboard.writeText($("device-link").value);
        $("device-copied").textContent = "Copied.";
      } catch {
        $("device-copied").textContent = "Press Ctrl+C to copy.";
      }
    });
    $("device").addEventListener("close", () => {
      this.#session = null;
      $("device-link").value = "";
      $("device-code").replaceChildren();
    });
  }

  /** Show the link for the user of a session that is online. */
  open(session) {
    this.#session = session;
    $("device-copied").textContent = "";
    this.update();
    $("device").showModal();
  }

  /** Show the token of the present connection: the former one ended with its own. */
  update() {
    const session = this.#session;
    if (!session) return;
    const isOnline = session.state === "online";
    const link = isOnline ? linkFor(session.user, session.token) : "";
    $("device-link").value = link;
    $("device-note").textContent = isOnline
      ? "Open this link in the other browser, or scan the code. It works while this page is connected. Whoever has it can log in as you."
      : "Not connected. The link appears when the page has reconnected.";
    $("device-code").replaceChildren(...(link ? picture(qrCode(link)) : []));
  }
}

/** Draw a QR code; nothing if the link is too long for one. */
function picture(rows) {
  if (!rows) return [];
  const size = rows.length + 2 * MARGIN;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "QR code of the link");
  const path = document.createElementNS(SVG, "path");
  const dark = rows.flatMap((row, y) =>
    row.map((isDark, x) => (isDark ? `M${x + MARGIN} ${y + MARGIN}h1v1h-1z` : "")));
  path.setAttribute("d", dark.join(""));
  svg.append(path);
  return [svg];
}
