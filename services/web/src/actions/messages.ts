//! Writing and reading in a room.

import { failedKey } from "../core/drawing/keys.ts";
import { messageProblem, refused } from "../core/problems.ts";
import { typedText } from "../core/text.ts";
import { type PageSession } from "../page-session.ts";
import type { DeviceId, MessageExtras, Result, RoomId } from "../view.ts";

export function messages(page: PageSession) {
  /** Answers once the room is drawn with what was done. */
  async function drawn(work: Promise<Result>): Promise<Result> {
    const result = await work;
    page.drawing.room();
    return result;
  }

  return {
    async send(id: RoomId, typed: string, extras: MessageExtras = {}): Promise<Result> {
      const problem = messageProblem(typed);
      if (problem !== null) return refused(problem);
      return page.withRoom(id, (room) => room.sending.send(typedText(typed), extras));
    },

    async edit(id: RoomId, seq: number, typed: string, mentions: readonly DeviceId[] = []): Promise<Result> {
      const problem = messageProblem(typed);
      if (problem !== null) return refused(problem);
      return page.withRoom(id, (room) => room.sending.edit(seq, typedText(typed), mentions));
    },

    deleteMessage: (id: RoomId, seq: number): Promise<Result> => page.withRoom(id, (room) => room.sending.delete(seq)),

    react: (id: RoomId, seq: number, emoji: string, on: boolean): Promise<Result> =>
      page.withRoom(id, (room) => room.sending.react(seq, emoji, on)),

    pin: (id: RoomId, seq: number, on: boolean): Promise<Result> =>
      page.withRoom(id, (room) => room.sending.pin(seq, on)),

    showMessage: (id: RoomId, seq: number): Promise<Result> =>
      drawn(page.withRoom(id, (room) => room.pages.loadAround(seq))),

    sendAgain: (id: RoomId, key: string): Promise<Result> =>
      page.withRoom(id, (room) => room.sending.sendAgain(failedKey(room, key))),
    discard: (id: RoomId, key: string): Promise<Result> =>
      page.withRoom(id, (room) => room.sending.discard(failedKey(room, key))),
    saveDraft: (id: RoomId, text: string): void => page.room(id)?.draft.save(text),
    typing: (id: RoomId): void => page.room(id)?.typingHere(),
    seen: (id: RoomId, seq: number): void => page.session?.seen(id, seq),

    loadOlder: (id: RoomId): Promise<Result> => drawn(page.withRoom(id, (room) => room.pages.loadOlder())),

    loadHole: (id: RoomId, key: string): Promise<Result> =>
      drawn(
        page.withRoom(id, async (room) => {
          const hole = room.log.holes.find(({ from }) => key === `hole ${from}`);
          if (hole !== undefined) await room.pages.loadHole(hole);
        }),
      ),
  };
}
