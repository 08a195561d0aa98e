/** The messages of a room and what stands between them. */

import type { DeletedEntry } from "../../view.ts";
import type { NoticeSummary } from "../timeline/arrange.ts";
import { stepText } from "./changes.ts";
import { count, listing } from "./wording.ts";

export const timeline = {
  beginning: "This is the beginning of the room",
  beginningCut: "What was said before is closed to newcomers",
  beginningBody: "Everything here is sealed before it leaves a device. Only people who are let in can read it.",
  today: "Today",
  yesterday: "Yesterday",
  unread: "New",
  newMessages: (n: number) => count(n, "new message", "new messages"),
  toLatest: "To the latest message",
  loadingOlder: "Loading older messages…",
  olderFailed: "Older messages could not be loaded.",
  hole: (n: number) => `${count(n, "message", "messages")} in between not loaded`,
  loadHole: "Load",
  loadingHole: "Loading…",
  holeFailed: "That did not work.",
  unreadable: "A message that could not be verified was left out. Ask its sender to send it again.",
  lost: "The server had accepted this message of yours and has lost it since.",
  sendAgain: "Send again",
  discard: "Delete",
  sending: "Sending",
  failed: "Not sent",
  unanswered: "Perhaps not sent",
  you: "You",
  ariaMessage: (name: string, time: string, text: string) => `${name}, ${time}: ${text}`,
  ariaNew: (name: string, text: string) => `${name}: ${text}`,
  typing: (names: readonly string[]) =>
    names.length > 3
      ? "Several people are typing"
      : `${listing.format(names)} ${names.length === 1 ? "is" : "are"} typing`,
  typingCount: (count: number) => (count === 1 ? "Someone is typing" : `${count} people are typing`),
  notices: (summary: NoticeSummary) => noticeText(summary),
  step: stepText,
  deleted: (entries: readonly DeletedEntry[]) => deletedText(entries),
  edited: "edited",
  editedAt: (time: string) => `Edited ${time}`,
  mentionsYou: "Mentions you",
  pinned: "Pinned",
  quoted: (name: string) => `In reply to ${name}`,
  quoteLoading: "Loading the message…",
  quoteDeleted: (name: string) => (name === "" ? "A deleted message" : `A deleted message of ${name}`),
  quoteUnavailable: "A message that is not here any more",
  copyCode: "Copy code",
  code: (language: string) => (language === "" ? "Code" : `Code, ${language}`),
} as const;

function deletedText(entries: readonly DeletedEntry[]): string {
  const [first] = entries;
  if (first === undefined) return "";
  const name = first.fingerprint === null ? first.authorName : `${first.authorName} (${first.fingerprint})`;
  const many = entries.length > 1;
  const what = many ? `${count(entries.length, "message", "messages")}` : "a message";
  const whose = first.mine ? (many ? `${what} of yours` : "your message") : `${what} of ${name}`;
  const capital = whose.charAt(0).toUpperCase() + whose.slice(1);
  switch (first.by) {
    case "author":
      return first.mine ? `You deleted ${what}` : `${name} deleted ${what}`;
    case "admin":
      return first.byName === null ? `${capital} ${many ? "were" : "was"} deleted` : `${first.byName} deleted ${whose}`;
    case "age":
      return `${capital} ${many ? "were" : "was"} erased by age, as this room is set`;
    case "server":
      return `${capital} ${many ? "are" : "is"} missing. The server erased ${many ? "them" : "it"} and nobody here asked for that`;
  }
}

/** At most two names, then a number: a line stays a line. */
function few(names: readonly string[]): string {
  if (names.length <= 3) return listing.format(names);
  return listing.format([...names.slice(0, 2), `${names.length - 2} others`]);
}

function noticeText({ joined, left, passed, renamed }: NoticeSummary): string {
  const parts: string[] = [];
  if (joined.length > 0) parts.push(`${few(joined)} joined`);
  if (left.length > 0) parts.push(`${few(left)} left`);
  if (passed.length > 0) parts.push(`${few(passed)} came and went`);
  for (const { from, to } of renamed.slice(0, 2)) parts.push(`${from} is now ${to}`);
  if (renamed.length > 2) parts.push(`${renamed.length - 2} more changed their names`);
  return parts.join(" · ");
}
