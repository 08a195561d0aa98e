import { beforeEach, expect, it, vi } from "vitest";

import { b64 } from "./base64url.ts";
import { messageBody } from "./bodies.ts";
import { random } from "./bytes.ts";
import { generateDevice } from "./crypto/device.ts";
import { EntryType, readHeader } from "./crypto/envelope.ts";
import { hkdfKey } from "./crypto/primitives.ts";
import { type Settled } from "./outbox-items.ts";
import { type Outbox } from "./outbox.ts";
import { RoomLost } from "./room-lost.ts";
import { RoomSending, type SendingWorld } from "./room-sending.ts";

const draft = { type: EntryType.message, target: 0, body: messageBody("hi"), instance: random(16), counter: 4 };
let outbox: { readonly [Call in "add" | "settled" | "cancel"]: ReturnType<typeof vi.fn> };
let settled: Settled;

beforeEach(() => {
  settled = { state: "delivered" };
  outbox = { add: vi.fn(async () => "it"), settled: vi.fn(async () => settled), cancel: vi.fn(async () => true) };
});

async function sending(change: Partial<SendingWorld> = {}): Promise<RoomSending> {
  const [device, use] = [await generateDevice(), await hkdfKey(random(32))];
  return new RoomSending({
    room: b64(random(16)),
    device,
    outbox: outbox as unknown as Outbox,
    lost: new RoomLost(device.id),
    edge: () => ({ seq: 7, hash: b64(random(32)) }),
    key: () => ({ epoch: 2, use }),
    isIntroduced: () => true,
    hasEnded: () => false,
    clearDraft: () => undefined,
    now: () => 1,
    changed: () => undefined,
    ...change,
  });
}

it("seals under the room's newest key once this device is introduced there, and only then", async () => {
  const made = await (await sending()).seal(draft);
  expect(made?.epoch).toBe(2);
  expect(readHeader(made?.envelope ?? random(1))).toMatchObject({ epoch: 2, counter: 4, type: EntryType.message });
  const stranger = await sending({ isIntroduced: (epoch) => epoch < 2 });
  expect(await stranger.seal(draft)).toBeUndefined();
  expect(await stranger.seal({ ...draft, type: EntryType.profile })).toBeDefined();
});

it("seals nothing away from the live edge, or without the newest key", async () => {
  expect(await (await sending({ edge: () => undefined })).seal(draft)).toBeUndefined();
  expect(await (await sending({ key: () => undefined })).seal(draft)).toBeUndefined();
});

it("a deletion that is not answered is taken back and said to be offline; a reaction goes on waiting", async () => {
  settled = { state: "waiting" };
  const room = await sending();
  await expect(room.delete(3)).rejects.toMatchObject({ code: "offline" });
  expect(outbox.cancel).toHaveBeenCalledTimes(1);
  await room.react(3, "👍", true);
  expect(outbox.cancel).toHaveBeenCalledTimes(1);
});

it("leaving a room that ended meanwhile is done", async () => {
  settled = { state: "waiting" };
  await (await sending({ hasEnded: () => true })).leave();
  expect(outbox.cancel).not.toHaveBeenCalled();
});
