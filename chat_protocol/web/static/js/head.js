/** The header of a conversation, and the placeholder of an empty one. */

import { brief, el, icon, isolated, shownName } from "./dom.js";
import { dateOf } from "./model.js";
import { pictureOf } from "./sidebar.js";

const $ = (id) => document.getElementById(id);

/** Show the members of the conversation, and whether they are online. */
export function showHead(conversation, model, isConnected) {
  $("pane-avatar").replaceChildren(pictureOf(conversation, model));
  $("title").replaceChildren(isolated(conversation.title));
  $("subtitle").textContent = about(conversation, model, isConnected);
  $("text").placeholder = conversation.isEveryone ? "Write to everyone" : `Write to ${shownName(conversation.title)}`;
}

function about({ isEveryone, members, single }, model, isConnected) {
  if (isEveryone) return "all registered users";
  if (!single) return `${members.length} people and you`;
  if (single === model.user) return "notes to yourself";
  if (!isConnected) return "";
  if (model.isOnline(single)) return "online";
  const person = model.users.get(single);
  if (!person) return model.moreUsers ? "" : "not registered";
  const seen = dateOf(person.lastLogin);
  return seen?.getTime() ? `offline, last login ${brief(seen)}` : "offline: messages wait for the next login";
}

/** Show a placeholder if the conversation is empty. */
export function showBlank(conversation) {
  const isBlank = !conversation.items.length;
  $("blank").hidden = !isBlank;
  if (!isBlank) return;
  if (!conversation.complete) {
    // The style sheet shows it after a delay: most often the messages arrive first.
    $("blank").replaceChildren(el("span", { class: "looking" }, "Loading earlier messages…"));
    return;
  }
  const [picture, words, hint] = conversation.isEveryone
    ? ["everyone", "No messages to everyone yet", "Write the first message below, or choose a person from the list."]
    : ["write", "No messages yet", "Write the first message. It waits for the recipient if they are offline."];
  $("blank").replaceChildren(el("span", { class: "medal" }, icon(picture)), el("strong", {}, words), el("span", {}, hint));
}
