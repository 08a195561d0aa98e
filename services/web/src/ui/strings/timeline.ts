/** The messages of a room and what stands between them. */

import type { NoticeSummary } from "../timeline/arrange.ts";
import { count, listing } from "./wording.ts";

export const timeline = {
  beginning: "This is the beginning of the room",
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
  you: "You",
  ariaMessage: (name: string, time: string, text: string) => `${name}, ${time}: ${text}`,
  ariaNew: (name: string, text: string) => `${name}: ${text}`,
  typing: (names: readonly string[]) =>
    names.length > 3
      ? "Several people are typing"
      : `${listing.format(names)} ${names.length === 1 ? "is" : "are"} typing`,
  notices: (summary: NoticeSummary) => noticeText(summary),
  copyCode: "Copy code",
  code: (language: string) => (language === "" ? "Code" : `Code, ${language}`),
} as const;

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
