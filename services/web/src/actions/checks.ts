//! What can be said about an input without a server.

import { ratePassword, suggestPassphrase } from "../core/password.ts";
import { memberNameProblem, messageProblem, roomNameProblem } from "../core/problems.ts";
import type { PasswordRating } from "../view.ts";

export const checks = {
  checkMemberName: memberNameProblem,
  checkRoomName: roomNameProblem,
  checkMessage: messageProblem,

  async ratePassword(password: string, room: string, myName: string): Promise<PasswordRating> {
    try {
      return await ratePassword(password, [room, myName]);
    } catch {
      // The dictionaries could not be loaded. What cannot be rated is not called strong.
      return { score: 0, accepted: false, advice: null };
    }
  },

  async suggestPassphrase(): Promise<string> {
    try {
      return await suggestPassphrase();
    } catch {
      // The word list could not be loaded. 100 random bits in a form that can be read out do as well.
      const digits = crypto.getRandomValues(new Uint8Array(25));
      const letters = [...digits].map((digit) => "abcdefghjkmnpqrs".charAt(digit & 15)).join("");
      return letters.replace(/.{5}(?=.)/g, "$&-");
    }
  },
};
