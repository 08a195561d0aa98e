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
