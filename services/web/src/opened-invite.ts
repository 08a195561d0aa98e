//! The invite link that the page was opened with, or that was pasted.

import { parseInvite, type InviteSecret } from "./core/crypto/invite-link.ts";
import { refused } from "./core/problems.ts";
import { type PageState } from "./page-state.svelte.ts";
import type { Result } from "./view.ts";

const INVITE_MARK = "#join=";

export class OpenedInvite {
  readonly #view: PageState;
  #secret: InviteSecret | undefined;

  /** Takes the invite out of the address, now and whenever one comes into it. */
  constructor(view: PageState) {
    this.#view = view;
    this.#take();
    window.addEventListener("hashchange", () => this.#take());
  }

  /** Undefined without an invite, and when its link was damaged. */
  get secret(): InviteSecret | undefined {
    return this.#secret;
  }

  /** Puts a pasted link in the place of the one the page was opened with. */
  use(link: string): Result {
    const secret = parseInvite(link);
    if (secret === undefined) return refused({ code: "invite_malformed" });
    this.#secret = secret;
    this.#view.invited = true;
    return { ok: true, value: undefined };
  }

  dismiss(): void {
    this.#secret = undefined;
    this.#view.invited = false;
  }

  #take(): void {
    if (!location.hash.startsWith(INVITE_MARK)) return;
    this.#secret = parseInvite(location.hash);
    history.replaceState(history.state, "", location.pathname + location.search);
    // A damaged link opens the invited screen as well, which then says so.
    this.#view.invited = true;
  }
}
