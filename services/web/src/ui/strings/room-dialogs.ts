/** What the dialogs of a room say that are loaded when they are opened. */

import { ANEW } from "./membership.ts";

export const rename = {
  heading: "Change your name",
  body: "For this room. The others see that it was changed.",
  submit: "Change name",
} as const;

export const leave = {
  heading: "Leave this room?",
  body: "You will not get its messages any more, and the room leaves your list. What you wrote stays for the others. To come back you need the password or an invite.",
  owner: "You own this room. After leaving, only the recovery key can prove that.",
  submit: "Leave room",
} as const;

export const deleting = {
  heading: "Delete this room?",
  body: "The room and every message in it are erased from the server, for everyone, at once. This cannot be undone.",
  confirm: (room: string) => `Type “${room}” to confirm`,
  submit: "Delete for everyone",
} as const;

export const anew = {
  heading: "Forget this room and join anew?",
  body: "Do this only if the server was restored from a backup. You join the room as it is there, with the password that it had then: whoever was removed since may be in it again.",
  lost: "This device forgets the room's keys and what it knows of its past, with what waits to be sent here. What was written after the backup stays lost.",
  submit: ANEW,
} as const;

export const switcher = {
  heading: "Switch room",
  label: "Find a room",
  empty: "No room of yours has that name.",
  current: "current",
} as const;

export const shortcuts = {
  heading: "Keyboard shortcuts",
  items: [
    { keys: ["Ctrl", "K"], does: "Switch room" },
    { keys: ["Enter"], does: "Send the message" },
    { keys: ["Shift", "Enter"], does: "Break the line" },
    { keys: ["↑", "↓"], does: "From message to message" },
    { keys: ["Enter", "Menu"], does: "What can be done with a message" },
    { keys: ["↑"], does: "Edit your last message, in an empty composer" },
    { keys: ["@"], does: "Mention someone" },
    { keys: ["Home", "End"], does: "Oldest loaded, latest message" },
    { keys: ["Esc"], does: "To the composer; cancel a reply or an edit; close a dialog" },
    { keys: ["?"], does: "This sheet" },
  ],
} as const;
