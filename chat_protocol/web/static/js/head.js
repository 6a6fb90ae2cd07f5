/** What stands above a conversation, and in the place of its messages while there are none. */

import { brief, el, icon, isolated, shown } from "./dom.js";
import { dateOf } from "./model.js";
import { pictureOf } from "./side.js";

const $ = (id) => document.getElementById(id);

/** Who it is with, and whether they are there. */
export function showHead(conversation, model, isConnected) {
  $("pane-avatar").replaceChildren(pictureOf(conversation, model));
  $("title").replaceChildren(isolated(conversation.title));
  $("subtitle").textContent = about(conversation, model, isConnected);
  $("text").placeholder = conversation.isEveryone ? "Write to everyone" : `Write to ${shown(conversation.title)}`;
}

function about({ isEveryone, members, single }, model, isConnected) {
  if (isEveryone) return "all who have ever been here";
  if (!single) return `${members.length} people and you`;
  if (single === model.user) return "notes to yourself";
  if (!isConnected) return "";
  if (model.isOnline(single)) return "on-line";
  const person = model.users.get(single);
  if (!person) return model.moreUsers ? "" : "has never been here";
  const seen = dateOf(person.lastLogin);
  return seen?.getTime() ? `away, last here ${brief(seen)}` : "away: messages wait until the next login";
}

/** What there is to do where nothing was said. */
export function showBlank(conversation) {
  const isBlank = !conversation.items.length;
  $("blank").hidden = !isBlank;
  if (!isBlank) return;
  if (!conversation.complete) {
    // Not at once: most often it is there in a moment.
    $("blank").replaceChildren(el("span", { class: "looking" }, "Looking for earlier messages…"));
    return;
  }
  const [picture, words, hint] = conversation.isEveryone
    ? ["everyone", "Nothing was said to everyone yet", "Write the first message below, or choose somebody from the list."]
    : ["write", "This is the beginning", "Say hello: what you write waits while nobody is there."];
  $("blank").replaceChildren(el("span", { class: "medal" }, icon(picture)), el("strong", {}, words), el("span", {}, hint));
}
