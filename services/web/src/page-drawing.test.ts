import "fake-indexeddb/auto";

import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { ApiError } from "./core/api.ts";
import { b64 } from "./core/base64url.ts";
import { type ConnectionStatus } from "./core/connection.ts";
import { Room, type RoomWorld } from "./core/room.ts";
import { type Session } from "./core/session.ts";
import { Store, type RoomRecord } from "./core/store.ts";
import { meet, member, other, owner } from "./core/testing/chains.ts";
import { DrawnRoom, timeOf } from "./core/testing/drawn-room.ts";
import { PageDrawing } from "./page-drawing.ts";
import { PageState, RoomState } from "./page-state.svelte.ts";

/** Lists and objects that components would draw anew if they were replaced. */
const FIELDS = ["entries", "members", "violations", "pins", "banned", "may", "typing"] as const;

const network = { onLine: true };
let view: PageState;
let drawing: PageDrawing;
let session: { status: ConnectionStatus; rooms: Map<string, Room> };

beforeEach(() => {
  network.onLine = true;
  vi.stubGlobal("navigator", network);
  view = new PageState();
  session = { status: { state: "online" }, rooms: new Map() };
  drawing = new PageDrawing(view, () => session as unknown as Session);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("without a network", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: 1_000 });
    network.onLine = false;
  });

  test("the page is offline though the socket seems open", () => {
    drawing.connection();
    expect(view.connection).toEqual({ state: "offline", sinceMs: 1_000 });
  });

  test("it counts from the loss of the network, whatever becomes of the socket", () => {
    drawing.connection();
    vi.setSystemTime(9_000);
    session.status = { state: "waiting", sinceMs: 8_000, retryAtMs: 10_000 };
    drawing.connection();
    expect(view.connection).toEqual({ state: "offline", sinceMs: 1_000 });
  });

  test("and back, the page shows what the connection says, and counts anew the next time", () => {
    drawing.connection();
    network.onLine = true;
    session.status = { state: "connecting", sinceMs: 2_000 };
    drawing.connection();
    expect(view.connection).toEqual(session.status);
    network.onLine = false;
    vi.setSystemTime(9_000);
    drawing.connection();
    expect(view.connection).toEqual({ state: "offline", sinceMs: 9_000 });
  });
});

describe("an opened room", () => {
  const NOW_MS = 5_000_000;
  let drawn: DrawnRoom;

  beforeAll(meet);

  beforeEach(() => {
    vi.useFakeTimers({ now: NOW_MS, toFake: ["Date", "setTimeout", "clearTimeout"] });
    drawn = new DrawnRoom(member);
    drawn.name(owner, "Olga");
    drawn.name(other, "Otto");
    drawn.name(member, "Mei");
    session.rooms.set(drawn.id, drawn.room);
    view.room = new RoomState(drawn.id);
  });

  const shown = () => {
    if (view.room === null) throw new Error("no room is open");
    return view.room;
  };

  test("is shown with what its chain says, and its entries", () => {
    drawn.step(owner, { type: "topic", topic: "Sunday" });
    const seq = drawn.message(other, "hello");
    drawn.pin(owner, seq);
    drawing.opened(drawn.id);
    drawing.rooms();
    expect(shown()).toMatchObject({ topic: "Sunday", role: "member", state: "ready", unreadAfterSeq: 0 });
    expect(shown().pins).toMatchObject([{ seq, byName: "Olga" }]);
    expect(shown().entries.at(-1)).toMatchObject({ seq, text: "hello", pinned: true });
    expect(shown().may).toMatchObject({ invite: true, topic: false });
    expect(view.rooms).toMatchObject([{ unread: 1, role: "member" }]);
  });

  test("replaces nothing that is the same", () => {
    drawn.message(other, "hello");
    drawn.step(owner, { type: "mute", device: other.device, untilMs: Number.MAX_SAFE_INTEGER });
    drawing.opened(drawn.id);
    drawing.rooms();
    const before = FIELDS.map((field) => shown()[field]);
    const { rooms } = view;
    drawing.room();
    drawing.rooms();
    for (const [index, field] of FIELDS.entries()) expect(shown()[field], field).toBe(before[index]);
    expect(view.rooms).toBe(rooms);
  });

  test("is drawn again when a mute ends", () => {
    const untilMs = NOW_MS + 60_000;
    drawn.step(owner, { type: "mute", device: member.device, untilMs });
    const seq = drawn.message(member, "mine");
    drawing.opened(drawn.id);
    const mine = () => shown().entries.find((entry) => "seq" in entry && entry.seq === seq);
    expect(shown().mutedUntilMs).toBe(untilMs);
    expect(mine()).toMatchObject({ may: { reply: false } });
    vi.advanceTimersByTime(59_000);
    expect(shown().mutedUntilMs).toBe(untilMs);
    vi.advanceTimersByTime(2_000);
    expect(shown().mutedUntilMs).toBeNull();
    expect(mine()).toMatchObject({ may: { reply: true } });
    expect(vi.getTimerCount()).toBe(0);
  });

  test("is drawn again when a message becomes too old to be kept", () => {
    const seq = drawn.message(other, "hello");
    drawn.step(owner, { type: "retention", ageMs: 3_600_000 });
    const dueMs = timeOf(seq) + 3_600_000;
    vi.setSystemTime(dueMs - 2_000);
    drawing.opened(drawn.id);
    const said = () => shown().entries.find((entry) => "seq" in entry && entry.seq === seq);
    vi.advanceTimersByTime(1_000);
    expect(said()).toMatchObject({ text: "hello" });
    vi.advanceTimersByTime(2_000);
    expect(said()).toMatchObject({ kind: "deleted", by: "age" });
    expect(vi.getTimerCount()).toBe(0);
  });

  test("is drawn again when slow mode lets one write, however long that takes", () => {
    const untilMs = NOW_MS + 30 * 24 * 3_600_000;
    drawn.slow.until = untilMs;
    drawing.opened(drawn.id);
    vi.advanceTimersByTime(untilMs - NOW_MS - 1_000);
    expect(shown().slowUntilMs).toBe(untilMs);
    drawn.slow.until = null;
    vi.advanceTimersByTime(2_000);
    expect(shown().slowUntilMs).toBeNull();
  });
});

test("a draft that is decrypted after the room was opened reaches the page", async () => {
  const store = await Store.open("page-drawing");
  const id = b64(new Uint8Array(16));
  const draft = await store.sealText(`draft ${id}`, "half a sentence");
  const offline = () => Promise.reject(new ApiError({ code: "offline" }));
  const record: RoomRecord = {
    room: id,
    life: "",
    name: "Garden",
    role: "member",
    keys: [],
    pinned: { epoch: 0, hash: "" },
    readSeq: 0,
    draft,
  };
  const world = {
    store,
    api: { members: offline, chain: offline, pins: offline },
    lock: () => Promise.resolve(),
    changed: () => drawing.soon(),
    now: () => Date.now(),
    setTimeout: () => undefined,
  };
  const room = new Room(record, world as unknown as RoomWorld);
  session.rooms.set(id, room);
  view.room = new RoomState(id);
  drawing.opened(id);
  expect(view.room.draft).toBe("");
  await room.start();
  expect(view.room.draft).toBe("half a sentence");
  room.stop();
  store.close();
});
