/** The entry point: the login form, then the chat. */

import { takenText } from "./banner.js";
import { Chat } from "./chat.js";
import { check } from "./check.js";
import { Code } from "./codec.js";
import { takeLink } from "./device.js";
import { Session } from "./session.js";
import { load, save, tab } from "./storage.js";

const $ = (id) => document.getElementById(id);
const URL_OF_SERVER = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;

/** Whether the server asks for passwords: then it serves the page with the field shown. */
const SECURED = !$("password-field").hidden;

const SENTENCES = {
  taken: (user) =>
    `${user} is already logged in elsewhere. Open "Add a device" there and use its link, or log out there first.`,
  invalid: (user, detail) => detail || "This is not a valid name.",
  password: (user, detail, given) =>
    given ? "The password is wrong." : "This server requires a password.",
};

let chat = null;
/** The session that is not online yet. */
let entering = null;
/** What the server is being asked about; a new object for each question. */
let checking = null;

function showEntry(user, why = "", detail = "", given = false) {
  $("chat").hidden = true;
  $("entry").hidden = false;
  $("name").value = user;
  if (why === "password") $("password-field").hidden = false;
  if (!given) $("password").value = "";
  $("login-error").textContent = SENTENCES[why]?.(user, detail, given) ?? detail;
  $("enter").disabled = false;
  $("name").disabled = $("password").disabled = false;
  const field = why === "password" || (SECURED && user) ? $("password") : $("name");
  field.focus();
  field.select();
}

/** Log in with what was entered. Until the server has said that it is right, nothing changes. */
async function submit(user, password) {
  if (!SECURED) {
    enter(user, password);
    return;
  }
  $("enter").disabled = true;
  $("login-error").textContent = "";
  const mine = (checking = {});
  let answer;
  try {
    answer = await check(URL_OF_SERVER, user, password);
  } catch {
    answer = { code: 0, detail: "Cannot reach the server. Try again." };
  }
  if (mine !== checking) return;
  if (answer.code === Code.OK) enter(user, password);
  else if (answer.code === Code.AUTHENTICATION_FAILED) showEntry(user, "password", "", Boolean(password));
  else showEntry(user, "", answer.detail, true);
}

function enter(user, password) {
  $("enter").disabled = true;
  $("login-error").textContent = "";
  entering?.dispose();
  const session = (entering = new Session(URL_OF_SERVER, user, password, SECURED));
  let inside = false;
  session.addEventListener("state", () => {
    if (session.state === "online" && !inside) {
      inside = true;
      entering = null;
      save("", "user", user);
      $("entry").hidden = true;
      $("chat").hidden = false;
      chat ??= new Chat(left);
      chat.open(session);
    } else if (!inside && session.state === "waiting") {
      // The form stays usable: who cannot wait may enter another name.
      $("enter").disabled = false;
      if (session.isTaken) $("login-error").textContent = takenText(user);
      else $("login-error").textContent = session.detail
        ? `The server reports: ${session.detail}. Trying again…`
        : "Cannot reach the server. Trying again…";
    } else if (!inside && session.state === "ended") {
      entering = null;
      session.dispose();
      showEntry(user, session.ended, session.detail, Boolean(password));
    }
  });
  session.start();
}

/** Show the login form after a logout, or after the server refused to log this user in again. */
function left(session) {
  session.dispose();
  if (!session.ended) save("", "user", "");
  showEntry(session.ended ? session.user : "", session.ended, session.detail, false);
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  const user = $("name").value.trim().normalize("NFC");
  if (!user) {
    $("login-error").textContent = "Enter a name.";
    $("name").focus();
    return;
  }
  submit(user, $("password").value);
});

$("name").addEventListener("input", () => {
  entering?.dispose();
  entering = checking = null;
  $("login-error").textContent = "";
  $("enter").disabled = false;
});

/** Log in by the link of another device, if the page was opened with one. Return whether it was. */
function acceptLink() {
  const link = takeLink();
  if (!link) return false;
  save("", "user", link.user);
  if (SECURED) tab.save(link.user, "token", link.token);
  else save(link.user, "token", link.token);
  return true;
}

acceptLink();
// A link that is opened in this tab changes the fragment only.
addEventListener("hashchange", () => acceptLink() && location.reload());

const known = load("", "user", "");
showEntry(known);
if (known && (!SECURED || tab.load(known, "token", ""))) enter(known, "");


