/** Every sentence the page says, in one place, so that a translation has one thing to translate. */

import type { EnterStep, PasswordAdvice, Problem, ProblemCode, ViolationCode } from "../view.ts";
import type { NoticeSummary } from "./timeline/arrange.ts";

const LANGUAGE = "en";

const listing = new Intl.ListFormat(LANGUAGE, { type: "conjunction" });

function count(n: number, one: string, many: string): string {
  return `${n.toLocaleString(LANGUAGE)} ${n === 1 ? one : many}`;
}

export const strings = {
  language: LANGUAGE,
  product: "Snug",
  tagline: "Private rooms for talking. Sealed in your browser, so the server carries messages it cannot read.",
  skipToContent: "Skip to content",
  newTab: "(opens in a new tab)",
  close: "Close",
  cancel: "Cancel",
  back: "Back",
  retryNow: "Retry now",
  tryAgain: "Try again",
  copy: "Copy",
  copied: "Copied",
  copyFailed: "Select the text and copy it by hand",

  start: {
    heading: "A quiet place to talk",
    create: "Create a room",
    createHint: "Name it, choose a password, invite people.",
    join: "Join a room",
    joinHint: "With its name and password, or with a link.",
    yourRooms: "Your rooms",
    noAccount: "No account, no e-mail address. A name is enough.",
    unread: (n: number) => count(n, "new message", "new messages"),
    ended: { deleted: "Deleted", not_a_member: "You are no longer a member" },
    forget: (room: string) => `Take “${room}” off the list`,
    security: "What is protected, and what is not",
  },

  myName: {
    label: "Your name",
    hint: "The others in the room see it. The server does not.",
    placeholder: "How people call you",
  },

  roomName: {
    label: "Room name",
    hint: "People type it to join. The server can see it, so keep secrets out of it.",
    placeholder: "For example: Sunday kitchen",
  },

  create: {
    heading: "Create a room",
    takeFree: (name: string) => `Use “${name}” instead`,
    submit: "Create room",
  },

  password: {
    label: "Room password",
    hint: "Whoever knows it can join and read everything, so it is worth being long.",
    show: "Show password",
    hide: "Hide password",
    suggest: "Suggest one",
    another: "Another one",
    copy: "Copy password",
    strength: "Strength",
    strengths: ["Guessed at once", "Weak", "Fair", "Good", "Strong"] as const,
    advice: {
      too_short: "Too short. Four or more random words make a good password.",
      too_long: "Too long. 256 characters are the most.",
      common: "This one is in the lists that attackers try first.",
      guessable: "Words, names, dates and keyboard rows are guessed early. Add a few unrelated words.",
      repeats: "Repeating something adds little. Use different words.",
      contains_name: "The name of the room or your own is the first thing to be tried.",
    } satisfies Record<PasswordAdvice, string>,
  },

  join: {
    heading: "Join a room",
    submit: "Join room",
    byLink: "I have an invite link",
    byPassword: "I have a name and password",
    link: "Invite link",
    linkHint: "It begins with this page's address and has a long key behind #join=.",
    useLink: "Continue",
    invitedHeading: "You are invited",
    invitedBody: "Someone sent you the key to a room. Say who you are and come in.",
    invitedSubmit: "Come in",
    notNow: "Not now",
  },

  steps: {
    asking: "Asking the server…",
    deriving: "Turning the password into a key. This is slow on purpose…",
    entering: "Opening the room…",
  } satisfies Record<EnterStep, string>,

  share: {
    heading: (room: string) => `“${room}” is ready`,
    body: "Three things before you go in. All of this is shown once.",
    inviteHeading: "Invite people",
    inviteBody: "Whoever opens this link can join and read everything. Send it where only they will see it.",
    link: "Invite link",
    share: "Share…",
    shareText: (room: string) => `Join me in “${room}” on Snug:`,
    qr: "Invite link as a QR code",
    showQr: "Show QR code",
    noLink: "The link could not be made just now. You can make one in the room, under Invites.",
    passwordHeading: "Or tell them name and password",
    passwordBody: "This works for ever and on every device, yours included. Keep a copy.",
    roomName: "Room name",
    password: "Password",
    recoveryHeading: "Keep the recovery key",
    recoveryBody:
      "You own this room through this browser. If its data is ever lost, this key is the only proof that the room is yours. Keep it like a spare key: off this device, shown to nobody.",
    recoveryKey: "Recovery key",
    download: "Save as file",
    saved: "I saved the recovery key",
    savedFirst: "Tick the box once the recovery key is saved.",
    enter: "Go to the room",
    fileName: (room: string) => `snug recovery key - ${room}.txt`,
    fileText: (room: string, key: string, origin: string) =>
      `Recovery key of the room “${room}” at ${origin}\n\n${key}\n\nWhoever has it can claim to own the room. It does not open the room by itself: keep the password too.\n`,
  },

  room: {
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
    readOnly: {
      deleted: "This room was deleted by its owner. Its messages are gone from the server.",
      not_a_member: "You are not a member of this room any more. Ask someone inside for a new invite.",
    },
    backToRooms: "Back to your rooms",
    takeOffList: "Take it off the list",
  },

  timeline: {
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
  },

  composer: {
    label: (room: string) => `Message to ${room}`,
    placeholder: "Write a message",
    send: "Send",
    left: (n: number) => count(n, "character left", "characters left"),
    over: (n: number) => `${count(n, "character", "characters")} too many`,
  },

  people: {
    heading: "People",
    here: "Here now",
    away: "Not here",
    you: "you",
    owner: "Owner",
    fingerprint: "Device",
    sharedName: "Two people use this name. The letters tell their devices apart.",
  },

  connection: {
    offline: "You are offline. Messages wait on this device and go out when you are back.",
    connecting: "Reconnecting…",
    waiting: (seconds: number) => `No connection. Next try in ${seconds} s.`,
    back: "Connected again",
  },

  violation: {
    heading: "Something in this room's history does not add up",
    body: "The server, or someone, dropped, repeated, reordered or replaced messages. What you read may be incomplete. The evidence contains no message text; show it to whoever looks after the server.",
    detail: (n: number) => count(n, "finding", "findings"),
    codes: {
      counter: "A sender's messages are not all there",
      prev: "A message refers to a history that differs from this one",
      fork: "Two messages claim the same place",
      substituted: "A message of yours was replaced",
      dropped: "A message of yours was accepted and then left out",
    } satisfies Record<ViolationCode, string>,
    at: (seq: number) => `at place ${seq.toLocaleString(LANGUAGE)}`,
    export: "Export evidence",
    more: "Details",
  },

  invites: {
    heading: "Invites",
    body: "An invite link carries the key to this room. Whoever has it can join and read everything, until it ends.",
    create: "Create link",
    expires: "Ends after",
    expiresOptions: { hour: "1 hour", day: "1 day", week: "1 week", never: "Never" },
    uses: "For",
    usesOptions: { one: "1 person", ten: "10 people", any: "Any number" },
    newHeading: "Your new link",
    newBody: "Shown this once; Snug does not keep it.",
    another: "Create another",
    listHeading: "Links in use",
    empty: "No invite links right now.",
    loading: "Loading…",
    madeBy: (name: string, when: string) => `Made by ${name}, ${when}`,
    used: (uses: number, max: number | null) =>
      max === null
        ? `used ${count(uses, "time", "times")}`
        : `used ${uses.toLocaleString(LANGUAGE)} of ${max.toLocaleString(LANGUAGE)}`,
    ends: (when: string) => `ends ${when}`,
    neverEnds: "no end",
    ended: "ended",
    revoke: "Revoke",
    revokeLabel: (name: string, when: string) => `Revoke the link made by ${name}, ${when}`,
    revoked: "Link revoked",
  },

  security: {
    heading: "About security",
    intro: "In plain words, what Snug protects and what it does not.",
    protectedHeading: "Sealed in your browser",
    protectedItems: [
      "What you write, and the names people go by.",
      "The room's password. It never leaves your device; the server only ever gets a proof that you know it.",
      "Your device's keys. They cannot be read out of the browser, not even by this page.",
      "The order of messages. Your browser checks that none was dropped, repeated or replaced, and says so if one was.",
    ],
    seenHeading: "What the server can see",
    seenItems: [
      "Room names, and which devices are members.",
      "Who is connected, from which address, and when.",
      "When messages are sent, and roughly how long they are.",
    ],
    notHeading: "What is not promised",
    notItems: [
      "Hiding who talks when, and how much.",
      "Old messages stay readable to whoever has both the password and the server's data. There is no forward secrecy.",
      "A weak password is as weak as it is. Guessing is made slow, not impossible.",
      "This page is as honest as the server it comes from. Use a server you trust to serve it unchanged.",
      "People in the room can copy what they read.",
      "Clearing this site's data in your browser ends your memberships here. You join again with the password or an invite.",
    ],
  },

  rename: {
    heading: "Change your name",
    body: "For this room. The others see that it was changed.",
    submit: "Change name",
  },

  leave: {
    heading: "Leave this room?",
    body: "You will not get its messages any more, and the room leaves your list. What you wrote stays for the others. To come back you need the password or an invite.",
    owner: "You own this room. After leaving, only the recovery key can prove that.",
    submit: "Leave room",
  },

  delete: {
    heading: "Delete this room?",
    body: "The room and every message in it are erased from the server, for everyone, at once. This cannot be undone.",
    confirm: (room: string) => `Type “${room}” to confirm`,
    submit: "Delete for everyone",
  },

  switcher: {
    heading: "Switch room",
    label: "Find a room",
    empty: "No room of yours has that name.",
    current: "current",
  },

  shortcuts: {
    heading: "Keyboard shortcuts",
    items: [
      { keys: ["Ctrl", "K"], does: "Switch room" },
      { keys: ["Enter"], does: "Send the message" },
      { keys: ["Shift", "Enter"], does: "Break the line" },
      { keys: ["↑", "↓"], does: "From message to message" },
      { keys: ["Home", "End"], does: "Oldest loaded, latest message" },
      { keys: ["Esc"], does: "To the composer; close a dialog" },
      { keys: ["?"], does: "This sheet" },
    ],
  },

  theme: {
    label: "Theme",
    auto: "Like the system",
    light: "Light",
    dark: "Dark",
  },

  blocked: {
    starting: "Opening Snug…",
    unsupported_browser: {
      heading: "This browser is too old for Snug",
      body: (browsers: string) =>
        `Messages are sealed in your browser, and this one lacks what that takes. These have it, and newer ones: ${browsers}.`,
      detail: "Missing here:",
      feature: (name: string, since: string) => `${name}: in ${since} and newer`,
    },
    needs_https: {
      heading: "Snug needs https here",
      body: "Browsers offer encryption only on pages that come over https, or from this very machine. Without it Snug could not keep its promise, so it does not start.",
      hint: "Open the same address with https:// in front. If you host this server: give it a certificate with SNUG_TLS_CERT and SNUG_TLS_KEY, or put it behind a proxy that has one, and set SNUG_PUBLIC_URL.",
      open: "Open with https",
    },
    storage_unavailable: {
      heading: "Snug cannot keep anything here",
      body: "Your keys have to stay in this browser, and it does not let this page store them. That is how private windows of some browsers work, or a setting that blocks site data.",
      hint: "Open Snug in a normal window, or allow site data for this address, then try again.",
    },
    server_unreachable: {
      heading: "The server does not answer",
      body: "Either you are offline or the server is. Nothing of yours is lost.",
    },
    wrong_host: {
      heading: "This is not the server's address",
      body: (host: string) => `The server does not go by the name “${host}”. Use the address you were given.`,
      hint: "If you host it: set SNUG_PUBLIC_URL to the address people use.",
    },
  },

  problems: {
    bad_request: "The server did not understand this page. Reload it.",
    unknown_frame: "The server did not understand this page. Reload it.",
    hello_expected: "The server did not understand this page. Reload it.",
    too_large: "That is too large.",
    unsupported_version: "This page is older or newer than the server. Reload it.",
    not_found: "That is not there any more.",
    method_not_allowed: "The server did not understand this page. Reload it.",
    host_not_allowed: "The server does not go by this address.",
    origin_not_allowed: "The server does not accept requests from this address.",
    nonce_expired: "That took too long. Please try again.",
    bad_signature: "The server could not verify this device. Reload the page and try again.",
    token_missing: "You are signed out here. Join the room again.",
    token_invalid: "You are signed out here. Join the room again.",
    device_unknown: "The server does not know this device. Join the room again.",
    wrong_credentials:
      "No room with that name and password. Check both; small and capital letters count in the password.",
    invite_expired: "This invite has ended. Ask for a new one.",
    invite_used_up: "This invite has been used as often as it may be. Ask for a new one.",
    too_many_attempts: "Too many attempts, so there is a short pause.",
    too_many_requests: "That was a lot at once. There is a short pause.",
    too_fast: "Faster than the server takes messages. There is a short pause.",
    room_name_invalid: "That name cannot be used. Try plain letters and spaces.",
    room_name_taken: "There is a room with this name, or one that looks like it.",
    id_taken: "That went wrong by chance. Please try again.",
    room_not_found: "There is no such room any more.",
    room_deleted: "This room was deleted by its owner.",
    not_a_member: "You are not a member of this room any more.",
    not_allowed: "Only the room's owner can do this.",
    wrong_device: "This device may not do that. Reload the page.",
    bad_envelope: "The server did not take this message. Reload the page and try again.",
    entry_not_accepted: "The server did not take this message. Reload the page and try again.",
    stale_epoch: "The room's key has changed. Please try again.",
    out_of_order: "Messages got out of step. Please try again.",
    gone: "That was erased.",
    too_many_rooms: "You are in as many rooms as one device may be.",
    too_many_members: "This room is full.",
    too_many_invites: "This room has as many links as it may. Revoke one first.",
    too_many_sockets: "Snug is open in too many tabs. Close some.",
    timed_out: "The server took too long. Please try again.",
    storage_full: "The server has no space left. Its operator has to see to that.",
    unavailable: "The server cannot do this right now. Please try again soon.",
    draining: "The server is restarting. Please try again in a moment.",
    internal: "Something went wrong in the server. Please try again.",
    offline: "No answer from the server. Check your connection and try again.",
    name_empty: "Please enter a name.",
    name_too_long: "That name is too long. 40 characters are the most.",
    name_forbidden: "That name has characters that could be taken for others. Try plain letters.",
    room_name_empty: "Please name the room.",
    room_name_too_long: "That name is too long. 64 characters are the most.",
    room_name_forbidden: "That name has characters that could be taken for others. Try plain letters.",
    password_empty: "Please enter the password.",
    password_weak: "This password is too easy to guess. Take the suggested one, or make yours longer.",
    message_empty: "There is nothing to send yet.",
    message_too_long: "This message is too long. Your text is still here: shorten it or send it in parts.",
    message_forbidden: "This text has invisible control characters in it. Your text is still here.",
    invite_malformed: "That is not a complete invite link. Copy all of it, to the last letter.",
    room_untrusted: "The server's answer does not fit this room's key, so nothing was opened. Ask whoever invited you.",
    local_storage: "This browser did not let the page store anything. Free some space or allow site data.",
    unexpected: "Something went wrong in this page. Reload it and try again.",
  } satisfies Record<ProblemCode, string>,

  retryIn: (seconds: number) => `You can try again in ${count(seconds, "second", "seconds")}.`,
} as const;

export function problemText(problem: Problem): string {
  return strings.problems[problem.code];
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
