/** A room, without its messages: who is in it, what can be done with it, and the composer. */

import { count, LANGUAGE, listing } from "./wording.ts";

export const room = {
  peopleHere: (here: number, all: number) =>
    `${here.toLocaleString(LANGUAGE)} of ${count(all, "person", "people")} here`,
  onlyYou: "Only you so far",
  menu: "Room menu",
  people: "People",
  invites: "Invites",
  security: "About security",
  leave: "Leave room",
  delete: "Delete room",
  rename: "Change your name",
  shortcuts: "Keyboard shortcuts",
  opening: "Opening the room…",
  failed: "The room could not be opened.",
  messages: (room: string) => `Messages in ${room}`,
  nothingYetBody: "Write the first message, or invite someone to talk to.",
  invite: "Invite people",
  backToRooms: "Back to your rooms",
  takeOffList: "Take it off the list",
  locked: "Locked: nobody new can come in",
  topic: "Topic",
} as const;

export const composer = {
  label: (room: string) => `Message to ${room}`,
  placeholder: "Write a message",
  send: "Send",
  left: (n: number) => count(n, "character left", "characters left"),
  over: (n: number) => `${count(n, "character", "characters")} too many`,
  replyingTo: (name: string) => `Replying to ${name}`,
  replyingToYourself: "Replying to yourself",
  cancelReply: "Cancel the reply",
  editing: "Editing your message",
  cancelEdit: "Cancel editing",
  save: "Save the change",
  mutedUntil: (time: string) => `You cannot write here until ${time}. Your text stays here.`,
  muted: "You cannot write here until somebody lets you again. Your text stays here.",
  slowWait: (seconds: number) => `Slow mode: you can send in ${seconds} s`,
  slowOver: "You can send again",
  key: "You can write again once you have joined with the new password. Your text stays here.",
  stalled:
    "You cannot write until an owner has gone on from the newest key, which cannot be used. Your text stays here.",
  contradicted: "You cannot write while the server does not know what this device knows. Your text stays here.",
  mention: "People to mention",
  mentionsFound: (n: number) => (n === 0 ? "Nobody by that name" : count(n, "person", "people")),
} as const;

/** What can be done with one message. */
export const acts = {
  label: (name: string) => `What to do with the message of ${name}`,
  mine: "What to do with your message",
  toolbar: "Message actions",
  more: "More actions",
  reply: "Reply",
  react: "React",
  reactWith: (emoji: string) => `React with ${emoji}`,
  otherEmoji: "Another emoji",
  emojiLabel: "Any emoji",
  emojiHint: "One emoji, from your keyboard or pasted",
  emojiWrong: "That is not one emoji. Letters and words do not count.",
  add: "React",
  edit: "Edit",
  delete: "Delete",
  pin: "Pin",
  unpin: "Unpin",
  copy: "Copy text",
  copied: "Text copied",
  copyFailed: "The browser did not let the text be copied.",
  reactions: "Reactions",
  reaction: (emoji: string, names: readonly string[], mine: boolean) =>
    `${emoji} ${reactors(names, mine)}. ${mine ? "Press to take yours back" : "Press to join in"}`,
  reactors: (names: readonly string[], mine: boolean) => reactors(names, mine),
} as const;

const NAMED_MAX = 12;

/** `names` has mine in it where `mine` is set; it is a name like the others there. */
function reactors(names: readonly string[], mine: boolean): string {
  const more = names.length - NAMED_MAX;
  const shown = more > 0 ? [...names.slice(0, NAMED_MAX), count(more, "other", "others")] : names;
  return `${listing.format(shown)}${mine ? " (you too)" : ""}`;
}

export const deletingMessage = {
  heading: "Delete this message?",
  body: "It is erased from the server, with its reactions, for everyone. A line stays that says so.",
  bodyOfOther: (name: string) =>
    `The message of ${name} is erased for everyone. A line stays that says that you did it.`,
  submit: "Delete",
} as const;

export const pins = {
  label: "Pinned messages",
  newest: (name: string) => `Go to the pinned message of ${name}`,
  all: (n: number) => `All ${n} pinned messages`,
  hide: "Hide the list",
  by: (name: string) => `Pinned by ${name}`,
  unpin: "Unpin",
} as const;

export const people = {
  heading: "People",
  here: "Here now",
  away: "Not here",
  you: "you",
  owner: "Owner",
  fingerprint: "Device",
  sharedName: "Two people use this name. The letters tell their devices apart.",
} as const;

export const connection = {
  offline: "You are offline. Messages wait on this device and go out when you are back.",
  connecting: "Reconnecting…",
  waiting: (seconds: number) => `No connection. Next try in ${seconds} s.`,
  back: "Connected again",
} as const;
