//! Invite links: `<origin>/#join=…`. The part after `#` never reaches a server.

import { b64, fromB64 } from "../base64url.ts";
import { concat, Reader, type Bytes } from "../bytes.ts";
import { SECRET_BYTES } from "./grant.ts";

export interface InviteSecret {
  room: Bytes;
  grant: Bytes;
  secret: Bytes;
}

const ID_BYTES = 16;
const PREFIX = "#join=";

/** The fragment of an invite link, `#` included. */
export function inviteFragment(invite: InviteSecret): string {
  return PREFIX + b64(concat(invite.room, invite.grant, invite.secret));
}

/** The whole link. `origin` has no trailing slash. */
export function inviteLink(origin: string, invite: InviteSecret): string {
  return `${origin}/${inviteFragment(invite)}`;
}

/** The invite in a fragment or a pasted link; `undefined` when there is none or it is damaged. */
export function parseInvite(text: string): InviteSecret | undefined {
  const start = text.indexOf(PREFIX);
  if (start < 0) return undefined;
  try {
    const reader = new Reader(fromB64(text.slice(start + PREFIX.length).trim(), 2 * ID_BYTES + SECRET_BYTES));
    return { room: reader.take(ID_BYTES), grant: reader.take(ID_BYTES), secret: reader.take(SECRET_BYTES) };
  } catch {
    return undefined;
  }
}
