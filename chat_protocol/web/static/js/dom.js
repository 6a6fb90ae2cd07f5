/** Create elements without markup, so that text of other users is never interpreted as HTML. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Create an element. `about` has its properties; `class`, `data`, `role` and names that begin with
 * aria- set the class, the dataset and the attributes.
 */
export function el(tag, about = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "role" || name.startsWith("aria-")) element.setAttribute(name, String(value));
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Create an SVG icon from a symbol of the page. */
export function icon(name, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.classList.add("icon");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  } else {
    svg.setAttribute("aria-hidden", "true");
  }
  svg.append(use);
  return svg;
}

/** Create an inline element whose text direction does not affect the text around it. */
export function isolated(value, about = {}) {
  return el("bdi", about, shownName(value));
}

/** Return a name with all characters that show as nothing made visible. */
export function shownName(value) {
  return value.replace(/[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/gu, visible);
}

/**
 * Return an excerpt with control and format characters (Unicode categories Cc and Cf) made
 * visible. Format characters are invisible, or change the direction of the text.
 */
export function shown(value) {
  return value.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    character === "\u200d" || character === "\u200c" ? character : visible(character),
  );
}

/** Return the text of a message with control characters made visible, except line breaks and tabs. */
export function shownText(value) {
  return value
    .replace(/\r\n?/g, "\n")
    .replace(/[^\P{C}\n\t\u200c\u200d]|[\u2028\u2029]/gu, visible);
}

function visible(character) {
  const code = character.codePointAt(0);
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  return `⟨${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

/** Return the hue of a name, 0 to 359; the same in every browser. */
export function hue(name) {
  let hash = 2166136261;
  for (const character of name) hash = Math.imul(hash ^ character.codePointAt(0), 16777619);
  return (hash >>> 0) % 360;
}

/** Create a circle with the first letter of a name, or with a symbol. */
export function avatar(name, symbol) {
  const circle = el("span", { class: "avatar", "aria-hidden": "true" });
  circle.style.setProperty("--hue", hue(name));
  if (symbol) circle.append(icon(symbol));
  else circle.append([...new Intl.Segmenter().segment(shownName(name))][0]?.segment.toUpperCase() ?? "?");
  return circle;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const SHORT = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export const clock = (date) => TIME.format(date);
export const full = (date) => FULL.format(date);

const dayNumber = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();

export const sameDay = (one, other) => Boolean(one && other) && dayNumber(one) === dayNumber(other);

/** Return "Today", "Yesterday", or the date. */
export function day(date) {
  const today = new Date();
  if (sameDay(date, today)) return "Today";
  if (sameDay(date, new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1))) return "Yesterday";
  return (date.getFullYear() === today.getFullYear() ? DAY : DAY_YEAR).format(date);
}

/** Return the time if the date is today, else the date. */
export function brief(date) {
  return sameDay(date, new Date()) ? clock(date) : SHORT.format(date);
}

/** Return whether the window shows either the sidebar or a conversation, not both. */
export function isNarrow() {
  return matchMedia("(max-width: 760px)").matches;
}
