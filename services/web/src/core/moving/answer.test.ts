import { describe, expect, it } from "vitest";

import { type Api } from "../api.ts";
import { b64 } from "../base64url.ts";
import { random } from "../bytes.ts";
import { answerFits } from "../crypto/move.ts";
import { generateLocalKey } from "../crypto/primitives.ts";
import { keepRoomKey } from "../crypto/room-key.ts";
import { Patience } from "../patience.ts";
import { type RoomRecord } from "../store.ts";
import { hastyClock } from "../testing/hasty-clock.ts";
import { roomToMove } from "../testing/movers.ts";
import { HandedRooms } from "./answer.ts";

/** More keys than an answer has place for. */
const MANY = 900;

async function roomOf(local: CryptoKey, epochs: number): Promise<RoomRecord> {
  const room = random(16);
  const keys = await Promise.all(Array.from({ length: epochs }, (_, at) => keepRoomKey(local, room, at, random(32))));
  const pinned = { epoch: epochs - 1, hash: b64(random(32)) };
  return { room: b64(room), life: "", name: "Garden", role: "member", keys, pinned, readSeq: 0 };
}

async function handed(rooms: readonly number[]) {
  const local = await generateLocalKey();
  const api = { createInvite: () => Promise.resolve({}) } as unknown as Pick<Api, "createInvite" | "revokeInvite">;
  const taken = new HandedRooms({ api, local, origin: "https://chat.example" });
  const records = await Promise.all(rooms.map((epochs) => roomOf(local, epochs)));
  const patience = new Patience(hastyClock(1), 60_000);
  await taken.take(
    records.map((record) => roomToMove(record)),
    patience,
  );
  return taken.answer("Ana");
}

const epochs = (answer: Awaited<ReturnType<typeof handed>>, room: number) =>
  answer.rooms[room]?.keys.map(({ epoch }) => epoch) ?? [];

describe("what is handed over", () => {
  it("holds all older keys, newest first, and not the one that the invite gives", async () => {
    const answer = await handed([4, 1]);
    expect([epochs(answer, 0), epochs(answer, 1)]).toEqual([[2, 1, 0], []]);
  });

  it("is of the epoch that began while it was gathered", async () => {
    const local = await generateLocalKey();
    const both = await roomOf(local, 2);
    const before: RoomRecord = { ...both, keys: both.keys.slice(0, 1), pinned: { epoch: 0, hash: b64(random(32)) } };
    const calls: string[] = [];
    const api = {
      createInvite: (_: string, { grant }: { readonly grant: string }) => {
        calls.push("createInvite");
        return Promise.resolve({ grant });
      },
      revokeInvite: () => Promise.resolve(void calls.push("revokeInvite")),
    } as unknown as Pick<Api, "createInvite" | "revokeInvite">;
    const taken = new HandedRooms({ api, local, origin: "https://chat.example" });
    const room = { ...roomToMove(before), record: before };
    room.chain = { refresh: () => Promise.resolve(void (room.record = both)) };
    await taken.take([room], new Patience(hastyClock(1), 60_000));
    expect(calls).toEqual(["createInvite", "revokeInvite", "createInvite"]);
    expect(taken.answer("Ana").rooms[0]?.keys.map(({ epoch }) => epoch)).toEqual([0]);
  });

  it("leaves the oldest keys out where there is no place for all", async () => {
    const answer = await handed([MANY, 4]);
    const kept = epochs(answer, 0);
    expect(answerFits(answer)).toBe(true);
    expect(kept.length).toBeGreaterThan(600);
    expect(kept).toEqual(Array.from(kept, (_, at) => MANY - 2 - at));
    expect(epochs(answer, 1)).toEqual([2, 1, 0]);
    const { rooms } = answer;
    const oneMore = rooms.map(({ join, keys }, at) => ({ join, keys: at === 0 ? [...keys, ...keys.slice(-1)] : keys }));
    expect(answerFits({ name: "Ana", rooms: oneMore })).toBe(false);
  });
});
