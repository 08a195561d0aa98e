//! The page's core: what it shows, and everything a user can do.

import { administration } from "./actions/administration.ts";
import { checks } from "./actions/checks.ts";
import { entering } from "./actions/entering.ts";
import { invites } from "./actions/invites.ts";
import { messages } from "./actions/messages.ts";
import { moving } from "./actions/moving.ts";
import { rooms } from "./actions/rooms.ts";
import { OpenedInvite } from "./opened-invite.ts";
import { PageSession } from "./page-session.ts";
import type { Actions, View } from "./view.ts";

/** Starts the page's core. What a link has put into the address is taken out of it before anything is requested. */
export function startApp(): { view: View; actions: Actions } {
  const page = new PageSession();
  const opened = new OpenedInvite(page.view);
  const moves = moving(page);
  void page.start();
  const actions: Actions = {
    ...checks,
    ...entering(page, opened),
    ...rooms(page),
    ...messages(page),
    ...invites(page),
    ...administration(page),
    ...moves,
    retryNow: () => page.retryNow(),
  };
  return { view: page.view, actions };
}
