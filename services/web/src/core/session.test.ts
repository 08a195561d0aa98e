import "fake-indexeddb/auto";

import { beforeEach, expect, it, vi } from "vitest";

import { ApiError } from "./api.ts";
import { messageBody, profileBody } from "./bodies.ts";
import { generateDevice } from "./crypto/device.ts";
import { EntryType } from "./crypto/envelope.ts";
import { outboxDraft } from "./outbox-items.ts";
import { type Room } from "./room.ts";
import { Session } from "./session.ts";
import { Store } from "./store.ts";
import { NodeSocket } from "./testing/node.ts";
import { RoomClient } from "./testing/room-client.ts";
import { author, RoomServer, type Author } from "./testing/room-server.ts";

let databases = 0;
let server: RoomServer;
let owner: Author;
let sockets: NodeSocket[];
let statuses: string[];
/** What ends the locks that were asked for. */
let locks: AbortSignal[];
let session: Session;
let room: Room;
/** Whether the next sockets open. */
let reachable: boolean;
const latest = () => sockets.at(-1) as NodeSocket;

/** A page in a room, connected. */
beforeEach(async () => {
  [sockets, statuses, locks, reachable] = [[], [], [], true];
  owner = author(await generateDevice());
  server = await RoomServer.found(owner, await generateDevice());
  const store = await Store.open(`session-${databases++}`);
  server.join(store.identity.device);
  const record = await RoomClient.record(server, store);
  const profile = { type: EntryType.profile, body: profileBody("Page", true, store.identity.device) };
  await store.keepRoom(server.id, () => record, await outboxDraft(store, server.id, profile, Date.now()));
  session = new Session(
    store,
    {
      origin: "https://chat.example",
      fetch: () => Promise.reject(new Error("nothing is asked this way")),
      hash: () => Promise.reject(new Error("nobody enters")),
      lock: (_, signal, hold) => {
        locks.push(signal);
        return signal.aborted ? Promise.resolve() : hold();
      },
      tell: () => undefined,
      openSocket: () => {
        const socket = new NodeSocket(server);
        if (!reachable) {
          socket.onopen = null;
          setTimeout(() => socket.drop(1006), 2);
        }
        sockets.push(socket);
        return socket;
      },
      now: () => Date.now(),
      random: () => 0.1,
      setTimeout: (run, ms) => setTimeout(run, ms) as unknown as number,
      clearTimeout: (timer) => clearTimeout(timer),
    },
    {
      roomChanged: () => undefined,
      roomsChanged: () => undefined,
      connectionChanged: ({ state }) => void statuses.push(state),
    },
  );
  Object.assign(session.api, server.api(store.identity.device));
  await session.start();
  room = session.rooms.get(server.id) as Room;
  await settled();
});

/** Waits until the page's log is the server's and nothing waits to be sent. */
function settled(): Promise<void> {
  const check = () => {
    if (room.log.newest?.seq !== server.head) throw new Error("the log is behind");
    if (room.outbox.items.some(({ state }) => state === "waiting")) throw new Error("something waits to be sent");
  };
  return vi.waitFor(check, { timeout: 5_000, interval: 5 });
}

function texts(): string[] {
  const entries = room.log.runs.flatMap((run) => run.entries);
  return entries.flatMap(({ content }) => (content.kind === "message" ? [content.text] : []));
}

const others = (text: string) => server.say(owner, EntryType.message, messageBody(text));

it("when the node drains, the page goes on at another without a gap, a doubled message or an interruption", async () => {
  const old = latest();
  await others("before");
  await settled();
  // What is sent now is committed, but the old node's answers are lost.
  old.mute = true;
  for (const text of ["one", "two", "three"]) await room.sending.send(text);
  await vi.waitFor(() => expect(server.head).toBe(6));
  old.say({ type: "move", within_ms: 10_000 });
  await others("during");
  for (const text of ["four", "five"]) await room.sending.send(text);
  await vi.waitFor(() => expect(old.closedBy).toBe("page"));
  await others("after");
  await settled();
  expect(sockets.length).toBe(2);
  expect(latest().said.slice(0, 2)).toEqual(["hello", "follow"]);
  expect(statuses.filter((state) => state !== "online" && state !== "connecting")).toEqual([]);
  expect(statuses.lastIndexOf("connecting")).toBeLessThan(statuses.indexOf("online"));
  const own = texts().filter((text) => !["before", "during", "after"].includes(text));
  expect(own).toEqual(["one", "two", "three", "four", "five"]);
  expect(texts().length).toBe(8);
  expect(room.log.violations).toEqual([]);
});

it("when no other node can be had in time, the page comes back as after any restart, and nothing is lost", async () => {
  const old = latest();
  reachable = false;
  old.mute = true;
  await room.sending.send("one");
  old.say({ type: "move", within_ms: 200 });
  await vi.waitFor(() => expect(sockets.length).toBe(2));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(session.status.state).toBe("online");
  await room.sending.send("two");
  reachable = true;
  old.drop(1012);
  await vi.waitFor(() => expect(session.status.state).toBe("online"));
  await settled();
  expect(texts()).toEqual(["one", "two"]);
  expect(room.log.violations).toEqual([]);
});

it("whom the server has never known waits as such, keeps its rooms, and goes on once it is known", async () => {
  const known = () => [room.isStranger, room.record.ended];
  session.api.renew = () => Promise.reject(new ApiError({ code: "device_unknown" }));
  reachable = false;
  latest().drop(4401);
  await vi.waitFor(() => expect(known()).toEqual([true, undefined]));
  expect(session.status.state).toBe("waiting");
  // A restored backup is replaced by the right one.
  reachable = true;
  session.retryNow();
  await vi.waitFor(() => expect(session.status.state).toBe("online"));
  expect(known()).toEqual([false, undefined]);
  await others("still here");
  await settled();
  expect(texts()).toEqual(["still here"]);
});

it("takes a room up anew that another tab forgot and joined anew while this one was asleep, and writes nothing of the old", async () => {
  await others("before");
  await settled();
  const { store } = session;
  const held = locks.length;
  // The server was restored from a backup: the epoch is the one that it was, and its record another.
  await store.forgetRoom(server.id);
  const fresh = await RoomClient.record(server, store);
  const anew = { ...fresh, pinned: { epoch: fresh.pinned.epoch, hash: server.log[1]?.hash ?? "" } };
  const profile = { type: EntryType.profile, body: profileBody("Page", true, store.identity.device) };
  await store.keepRoom(server.id, () => anew, await outboxDraft(store, server.id, profile, Date.now()));
  const old = room;
  await session.told({ rooms: true });
  expect(session.rooms.get(server.id)).not.toBe(old);
  expect(session.rooms.get(server.id)?.record.pinned).toEqual(anew.pinned);
  // The old one sends no more, so that another tab can, and what it notes is not of this room.
  expect(locks.slice(0, held).map(({ aborted }) => aborted)).toEqual([true]);
  old.closed("banned");
  const [kept] = await store.rooms();
  expect([kept?.life, kept?.ended]).toEqual([fresh.life, undefined]);
});

it("keeps what is being written while the room is entered again, here or in another tab", async () => {
  const { store } = session;
  const kept = async () => {
    const [record] = await store.rooms();
    return record?.draft && store.openText(`draft ${server.id}`, record.draft);
  };
  const drafts = () => [...session.rooms.values()].map(({ draft }) => draft.text);
  room.draft.save("Can you hear me?");
  await session.entered(room.record);
  expect(drafts()).toEqual(["Can you hear me?"]);
  await vi.waitFor(async () => expect(await kept()).toBe("Can you hear me?"));
  const again = session.rooms.get(server.id) as Room;
  expect(again).not.toBe(room);
  again.draft.save("Can you hear me now?");
  await store.changeRoom(server.id, (record) => ({ ...record, pinned: { epoch: 1, hash: "newer" } }));
  await session.told({ rooms: true });
  expect(session.rooms.get(server.id)).not.toBe(again);
  expect(drafts()).toEqual(["Can you hear me now?"]);
  await vi.waitFor(async () => expect(await kept()).toBe("Can you hear me now?"));
});

it("does not bring back what was being sent while the room was entered again", async () => {
  const { store } = session;
  room.draft.save("Here I am");
  const sending = room.sending.send("Here I am");
  await session.entered(room.record);
  await sending;
  expect([...session.rooms.values()].map(({ draft }) => draft.text)).toEqual([""]);
  await vi.waitFor(async () => expect((await store.rooms()).map(({ draft }) => draft)).toEqual([undefined]));
});

it("does not take a token that could not be had for a server that knows it not", async () => {
  session.api.renew = () => Promise.reject(new ApiError({ code: "offline" }));
  latest().drop(4401);
  await vi.waitFor(() => expect(session.status.state).toBe("waiting"));
  expect(room.isStranger).toBe(false);
});

it("is told how a room stands, and in a crowd by numbers", async () => {
  const [me, ben] = [room.me, owner.device.id];
  latest().say({ type: "here", room: server.id, here: [me, ben], here_count: 2 });
  await vi.waitFor(() => expect([room.presence.hereCount, room.presence.isHere(ben)]).toEqual([2, true]));
  latest().say({ type: "here", room: server.id, here_count: 700 });
  latest().say({ type: "typing_count", room: server.id, count: 12 });
  await vi.waitFor(() => expect(room.presence.typingCountAt(Date.now())).toBe(12));
  expect([room.presence.hereCount, room.presence.isHere(ben)]).toEqual([700, false]);
  expect(room.presence.typingCountAt(Date.now() + 60_000)).toBe(0);
});
