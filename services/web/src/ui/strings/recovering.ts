/** Coming back as the owner, by the key that was shown when the room was made. */
export const recover = {
  heading: "Use a recovery key",
  body: "The key that was shown when the room was created, or the newest one made since, brings you back in, and makes this device an owner of the room.",
  key: "Recovery key",
  keyHint: "Capitals and spaces do not matter. It is in the file you saved, if you saved one.",
  submit: "Recover the room",
  done: "This device owns the room now.",
  wrong: "This key does not belong to a room with that name. Check the name first, then the key.",
  stalled:
    "The newest key of this room cannot be used: an admin replaced it in a way that is not allowed, or the server withholds it. Ask somebody inside first. If they cannot write either, you can go on.",
  goOn: "Go on by closing the history",
  goOnWhy:
    "Everybody gets a new key. Who joins later reads what is written from then on, and the room needs a new password from you.",
} as const;
