//! The invite links of a room.

import { type InviteLimits } from "../core/make-invite.ts";
import { type Room } from "../core/room.ts";
import { type PageSession } from "../page-session.ts";
import type { Invite } from "../protocol.gen.ts";
import type { InviteView, NewInvite, Result, RoomId } from "../view.ts";

export function invites(page: PageSession) {
  return {
    listInvites: (id: RoomId): Promise<Result<readonly InviteView[]>> =>
      page.withRoom(id, async (room, session) => {
        const { invites } = await session.api.invites(id);
        return invites.map((invite) => inviteView(room, invite));
      }),

    createInvite: (id: RoomId, limits: InviteLimits): Promise<Result<NewInvite>> => createInvite(page, id, limits),

    revokeInvite: (id: RoomId, invite: string): Promise<Result> =>
      page.with((session) => session.api.revokeInvite(id, invite)),
  };
}

export function createInvite(page: PageSession, id: RoomId, limits: InviteLimits): Promise<Result<NewInvite>> {
  return page.withRoom(id, async (room, session) => {
    const { invite, link } = await session.createInvite(room, limits);
    return { invite: inviteView(room, invite), link };
  });
}

export function inviteView(room: Room, invite: Invite): InviteView {
  return {
    id: invite.grant,
    mine: invite.made_by === room.me,
    madeByName: room.directory.newestName(invite.made_by) ?? invite.made_by.slice(0, 4),
    createdAtMs: invite.created_at_ms,
    expiresAtMs: invite.expires_at_ms ?? null,
    uses: invite.uses,
    usesMax: invite.uses_max ?? null,
  };
}
