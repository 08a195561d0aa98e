//! What one does with a room as a whole.

import { evidence } from "../core/evidence.ts";
import { memberName } from "../core/names.ts";
import { refused } from "../core/problems.ts";
import { type Session } from "../core/session.ts";
import { type PageSession } from "../page-session.ts";
import { RoomState } from "../page-state.svelte.ts";
import type { Result, RoomId, SavedFile } from "../view.ts";

export function rooms(page: PageSession) {
  const { view, drawing } = page;

  async function forget(session: Session, id: RoomId): Promise<void> {
    await session.forget(id);
    drawing.forget(id);
    if (view.room?.id === id) closeRoom();
  }

  function closeRoom(): void {
    view.room = null;
    page.session?.show(undefined);
  }

  return {
    openRoom(id: RoomId): void {
      if (page.room(id) === undefined || view.room?.id === id) return;
      view.room = new RoomState(id);
      page.session?.show(id);
      drawing.opened(id);
    },

    closeRoom,

    forgetRoom: (id: RoomId): Promise<Result> => page.with((session) => forget(session, id)),

    leaveRoom: (id: RoomId): Promise<Result> =>
      page.withRoom(id, async (room, session) => {
        await room.sending.leave();
        await forget(session, id);
      }),

    deleteRoom: (id: RoomId): Promise<Result> =>
      page.with(async (session) => {
        await session.api.deleteRoom(id);
        await forget(session, id);
      }),

    async changeName(id: RoomId, name: string): Promise<Result> {
      const checked = memberName(name);
      if (!checked.ok) return refused({ code: `name_${checked.fault}` });
      return page.withRoom(id, async (room, session) => {
        await room.sending.changeName(checked.name);
        await page.keepMyName(session, checked.name);
      });
    },

    exportEvidence: (id: RoomId): Promise<Result<SavedFile>> =>
      page.withRoom(id, (room) =>
        Promise.resolve({
          name: `snug-evidence-${id}.json`,
          type: "application/json",
          text: evidence(room, Date.now()),
        }),
      ),
  };
}
