import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { b64 } from "../core/base64url.ts";
import { random } from "../core/bytes.ts";
import { parseMove } from "../core/crypto/move.ts";
import { type RoomRecord } from "../core/store.ts";
import { Movers, roomToMove } from "../core/testing/movers.ts";
import { type PageSession } from "../page-session.ts";
import type { MoveView } from "../view.ts";
import { moving } from "./moving.ts";

let movers: Movers;
let hashChanged: () => void;
const address = { hash: "", pathname: "/", search: "", origin: "https://chat.example" };

beforeEach(async () => {
  movers = await Movers.meet();
  address.hash = "";
  vi.stubGlobal("location", address);
  vi.stubGlobal("history", { state: null, replaceState: (_: unknown, __: string, to: string) => open(to) });
  vi.stubGlobal("window", { addEventListener: (_: string, run: () => void) => (hashChanged = run) });
});

afterEach(() => {
  movers.close();
  vi.unstubAllGlobals();
});

/** The address bar shows this. */
const open = (to: string) => (address.hash = to.includes("#") ? to.slice(to.indexOf("#")) : "");

/** The page of one of the devices, with these rooms. */
function pageOf(side: "old" | "new" | "none", records: readonly RoomRecord[] = []) {
  const view: { move: MoveView | null; myName: string } = { move: null, myName: "Ana" };
  const store = side === "old" ? movers.oldStore : movers.newStore;
  const api = movers.house.api(store.identity.device);
  const room = (record: RoomRecord) => {
    const { chain, ...rest } = roomToMove(record);
    return { ...rest, chain: { ...chain, ready: () => Promise.resolve() } };
  };
  const entered: string[] = [];
  const session = {
    store,
    api,
    rooms: new Map(records.map((record) => [record.room, room(record)])),
    enterWorld: { api, store, hash: () => Promise.reject(new Error("no password")), now: () => Date.now() },
    entered: ({ room }: RoomRecord) => Promise.resolve(void entered.push(room)),
  };
  const keepMyName = (_: unknown, name: string) => Promise.resolve(void (view.myName = name));
  const page = { view, session: side === "none" ? undefined : session, keepMyName };
  return { view, entered, actions: moving(page as unknown as PageSession) };
}

const comesTo = (view: { move: MoveView | null }, state: MoveView["state"]) =>
  vi.waitFor(() => expect(view.move?.state).toBe(state), { timeout: 10_000, interval: 20 });

describe("a move from page to page", () => {
  it("is begun, opened, accepted and confirmed", async () => {
    const { record, server } = await movers.room("Garden");
    const old = pageOf("old", [record]);
    old.actions.startMove();
    await comesTo(old.view, "waiting");
    open(old.view.move?.side === "old" ? old.view.move.link : "");
    const fresh = pageOf("new");
    expect([address.hash, fresh.view.move?.state]).toEqual(["", "opened"]);
    fresh.view.myName = "";
    fresh.actions.acceptMove();
    await comesTo(fresh.view, "confirm");
    await comesTo(old.view, "confirm");
    expect(old.view.move?.code).toBe(fresh.view.move?.code);
    old.actions.confirmMove();
    await comesTo(old.view, "done");
    await comesTo(fresh.view, "done");
    expect([fresh.entered, fresh.view.myName]).toEqual([[server.id], "Ana"]);
  });

  it("is not confirmed by a page that was left", async () => {
    const { record } = await movers.room("Garden");
    const old = pageOf("old", [record]);
    old.actions.startMove();
    await comesTo(old.view, "waiting");
    const secret = parseMove(old.view.move?.side === "old" ? old.view.move.link : "");
    const to = movers.to(secret ?? random(0));
    await comesTo(old.view, "confirm");
    old.actions.dismissMove();
    old.actions.confirmMove();
    to.stop();
    await to.done;
    expect(old.view.move).toBeNull();
    expect(movers.house.calls).not.toContain("createInvite");
  });

  it("shows another link when it is begun again", async () => {
    const { view, actions } = pageOf("old");
    const links = new Set<string>();
    for (let time = 0; time < 2; time++) {
      actions.startMove();
      await comesTo(view, "waiting");
      links.add(view.move?.side === "old" ? view.move.link : "");
      actions.dismissMove();
    }
    expect(links.size).toBe(2);
  });
});

describe("a move link", () => {
  it("that comes into the address of an open page takes the place of what went on", async () => {
    const { view, actions } = pageOf("old");
    actions.startMove();
    await comesTo(view, "waiting");
    open(`#move=${b64(random(32))}`);
    hashChanged();
    expect([address.hash, view.move?.side, view.move?.state]).toEqual(["", "new", "opened"]);
  });

  it("that is damaged says that it is of no use", () => {
    open("#move=short");
    const { view, actions } = pageOf("new");
    expect([address.hash, view.move?.state, view.move?.problem]).toEqual(["", "failed", { code: "move_not_found" }]);
    actions.acceptMove();
    expect(movers.house.calls).toEqual([]);
  });

  it("can be dismissed, and is not used then", () => {
    open(`#move=${b64(random(32))}`);
    const { view, actions } = pageOf("new");
    actions.dismissMove();
    actions.acceptMove();
    expect([view.move, movers.house.calls]).toEqual([null, []]);
  });

  it("leaves an invite's fragment alone", () => {
    open("#join=abc");
    expect([pageOf("new").view.move, address.hash]).toEqual([null, "#join=abc"]);
  });
});

it("a move fails with a problem while the page has no session", () => {
  const { view, actions } = pageOf("none");
  actions.startMove();
  expect([view.move?.state, view.move?.problem]).toEqual(["failed", { code: "unavailable" }]);
});
