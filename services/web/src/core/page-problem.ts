//! What goes wrong in the page itself, and has no code of the protocol.

import type { LocalCode } from "../view.ts";

/** Found in this page before or without an answer of the server. */
export class PageProblem extends Error {
  readonly code: LocalCode;

  constructor(code: LocalCode) {
    super(code);
    this.code = code;
  }
}
