import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ApiError } from "./core/api.ts";
import { b64 } from "./core/base64url.ts";
import { type ConnectionStatus } from "./core/connection.ts";
import { Room, type RoomWorld } from "./core/room.ts";
import { type Session } from "./core/session.ts";
import { Store, type RoomRecord } from "./core/store.ts";
import { PageDrawing } from "./page-drawing.ts";
import { PageState, RoomState } from "./page-state.svelte.ts";

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

test("a draft that is decrypted after the room was opened reaches the page", async () => {
  const store = await Store.open("page-drawing");
  const id = b64(new Uint8Array(16));
  const draft = await store.sealText(`draft ${id}`, "half a sentence");
  const record: RoomRecord = {
    room: id,
    name: "Garden",
    role: "member",
    keys: [],
    pinned: { epoch: 0, hash: "" },
    readSeq: 0,
    draft,
  };
  const world = {
    store,
    api: { members: () => Promise.reject(new ApiError({ code: "offline" })) },
    lock: () => Promise.resolve(),
    changed: () => drawing.soon(),
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
