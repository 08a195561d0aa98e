/**
 * Every sentence the page says; with `strings/`, all that a translation has to translate. What only a dialog says that is loaded
 * when it is opened is imported by that dialog from `strings/`, so that it is not part of the first load.
 */

import type { Problem } from "../view.ts";
import { blocked } from "./strings/blocked.ts";
import { create, join, myName, password, roomName, share, start, steps } from "./strings/entering.ts";
import {
  contradicted,
  ended,
  keyMissing,
  membership,
  recoveryAstray,
  rejoin,
  roles,
  stalled,
} from "./strings/membership.ts";
import { problems } from "./strings/problems.ts";
import { acts, composer, connection, deletingMessage, people, pins, room } from "./strings/room.ts";
import { security, violation } from "./strings/security.ts";
import { timeline } from "./strings/timeline.ts";
import { count, LANGUAGE } from "./strings/wording.ts";

export const strings = {
  language: LANGUAGE,
  product: "Snug",
  tagline: "Private rooms for talking. Sealed in your browser, so the server carries messages it cannot read.",
  skipToContent: "Skip to content",
  newTab: "(opens in a new tab)",
  close: "Close",
  notLoaded: "This could not be opened",
  cancel: "Cancel",
  back: "Back",
  retryNow: "Retry now",
  tryAgain: "Try again",
  copy: "Copy",
  copied: "Copied",
  copyFailed: "Select the text and copy it by hand",

  start,
  myName,
  roomName,
  create,
  password,
  join,
  steps,
  share,

  room,
  timeline,
  composer,
  acts,
  deleteMessage: deletingMessage,
  pins,
  people,
  connection,
  security,
  violation,

  roles,
  membership,
  keyMissing,
  stalled,
  contradicted,
  recoveryAstray,
  ended,
  rejoin,

  theme: {
    label: "Theme",
    auto: "Like the system",
    light: "Light",
    dark: "Dark",
  },

  blocked,
  problems,
  retryIn: (seconds: number) => `You can try again in ${count(seconds, "second", "seconds")}.`,
} as const;

export function problemText(problem: Problem): string {
  return strings.problems[problem.code];
}
