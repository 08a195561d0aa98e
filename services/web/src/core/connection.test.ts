import { beforeEach, describe, expect, it, vi } from "vitest";

import { Connection, type ConnectionStatus, type Socket } from "./connection.ts";
import { backoff } from "./link-state.ts";
import { type ClientFrame, type ServerFrame } from "../protocol.gen.ts";

class FakeSocket implements Socket {
  binaryType = "";
  onopen: (() => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  sent: string[] = [];
  closed: number | undefined;
  readonly protocol: string;

  constructor(protocol: string) {
    this.protocol = protocol;
  }
  send(data: string | Uint8Array) {
    this.sent.push(typeof data === "string" ? (JSON.parse(data) as { type: string }).type : "binary");
  }
  close(code?: number) {
    this.closed = code ?? 1005;
  }
  say(frame: ServerFrame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
  drop(code = 1006) {
    this.onclose?.({ code });
  }
  welcome() {
    this.onopen?.();
    const device = "AgICAgICAgICAgICAgICAg";
    this.say({ type: "welcome", device, node: "n", server_at_ms: 1, heartbeat_ms: 25_000 });
  }
}

const ROOM = "AQEBAQEBAQEBAQEBAQEBAQ";
let sockets: FakeSocket[];
let statuses: ConnectionStatus["state"][];
let seen: string[];
let renewals: { resolve(): void; reject(): void }[];
let connection: Connection;
const latest = () => sockets.at(-1) as FakeSocket;

beforeEach(() => {
  vi.useFakeTimers();
  [sockets, statuses, seen, renewals] = [[], [], [], []];
  connection = new Connection(
    {
      openSocket: (protocol) => (sockets.push(new FakeSocket(protocol)), latest()),
      renew: () => new Promise((resolve, reject) => renewals.push({ resolve, reject })),
      now: () => Date.now(),
      random: () => 0.5,
      setTimeout: (run, ms) => setTimeout(run, ms) as unknown as number,
      clearTimeout: (timer) => clearTimeout(timer),
    },
    {
      greeting: (): ClientFrame[] => [{ type: "follow", id: 1, room: ROOM }],
      connected: () => seen.push("connected"),
      disconnected: () => seen.push("disconnected"),
      frame: (frame) => seen.push(frame.type),
      entry: () => seen.push("entry"),
      changed: ({ state }) => statuses.push(state),
    },
  );
  connection.start();
});

it("says hello and follows at once, and is online when welcomed", () => {
  expect([latest().protocol, connection.status.state]).toEqual(["snug.v1", "connecting"]);
  latest().welcome();
  expect(latest().sent).toEqual(["hello", "follow"]);
  expect(connection.status).toEqual({ state: "online" });
  expect(connection.send({ type: "typing", room: ROOM })).toBe(true);
  expect(latest().sent).toEqual(["hello", "follow", "typing"]);
});

it("answers heartbeats and gives up after 40 s of silence", () => {
  latest().welcome();
  vi.advanceTimersByTime(39_000);
  latest().say({ type: "heartbeat", heads: [] });
  expect(latest().sent.at(-1)).toBe("heartbeat");
  vi.advanceTimersByTime(39_000);
  expect(connection.status.state).toBe("online");
  vi.advanceTimersByTime(1_500);
  expect(sockets[0]?.closed).toBe(1000);
  expect(seen).toContain("disconnected");
  expect(sockets.length).toBe(2);
});

it("waits longer after each loss, between half a second and 30 s, and starts anew once it held", () => {
  const waits: number[] = [];
  for (let i = 0; i < 9; i++) {
    latest().drop();
    const { status } = connection;
    if (status.state !== "waiting") throw new Error(status.state);
    waits.push(status.retryAtMs - Date.now());
    vi.advanceTimersByTime(status.retryAtMs - Date.now());
  }
  expect(waits).toEqual([750, 1500, 3000, 6000, 12000, 22500, 22500, 22500, 22500]);
  expect([backoff(1, 0), backoff(20, 0.9999)]).toEqual([500, 29999]);
  latest().welcome();
  vi.advanceTimersByTime(11_000);
  latest().drop();
  expect(connection.status).toMatchObject({ state: "waiting", retryAtMs: Date.now() + 750 });
});

it("keeps the time of the loss until it is back", () => {
  latest().welcome();
  vi.advanceTimersByTime(11_000);
  const lostAt = Date.now();
  latest().drop();
  vi.advanceTimersByTime(750);
  latest().drop();
  expect(connection.status).toMatchObject({ state: "waiting", sinceMs: lostAt });
});

it("a socket that does not open within 10 s is given up", () => {
  vi.advanceTimersByTime(10_000);
  expect([latest().closed, connection.status.state]).toEqual([1000, "waiting"]);
});

it("retries at once when asked, when the network is back and when the page is shown", () => {
  for (const wake of [() => connection.retryNow(), () => connection.networkBack(), () => connection.shown()]) {
    latest().drop();
    const before = sockets.length;
    wake();
    expect(sockets.length).toBe(before + 1);
    vi.advanceTimersByTime(5_000);
    expect(sockets.length).toBe(before + 1);
  }
});

it("renews the token when told so, then connects at once", async () => {
  latest().welcome();
  latest().drop(4401);
  expect([renewals.length, sockets.length, connection.status.state]).toEqual([1, 1, "connecting"]);
  renewals[0]?.resolve();
  await vi.advanceTimersByTimeAsync(0);
  expect(sockets.length).toBe(2);
  latest().drop(4401);
  expect(renewals.length).toBe(1);
  expect(connection.status.state).toBe("waiting");
});

it("waits when the renewal fails", async () => {
  latest().drop(4401);
  renewals[0]?.reject();
  await vi.advanceTimersByTimeAsync(0);
  expect([sockets.length, connection.status.state]).toEqual([1, "waiting"]);
});

describe("when the node moves its clients", () => {
  it("the new socket is welcomed before the old one closes", () => {
    latest().welcome();
    const old = latest();
    old.say({ type: "move", within_ms: 10_000 });
    expect([sockets.length, old.closed]).toEqual([2, undefined]);
    expect(connection.status.state).toBe("online");
    latest().welcome();
    expect([old.closed, latest().closed]).toEqual([1000, undefined]);
    connection.send({ type: "typing", room: ROOM });
    expect(latest().sent).toEqual(["hello", "follow", "typing"]);
    expect(statuses.filter((state) => state !== "online")).toEqual([]);
    expect(seen.filter((what) => what === "disconnected")).toEqual([]);
  });

  it("the new socket goes on alone when the old one closes first", () => {
    latest().welcome();
    latest().say({ type: "move", within_ms: 10_000 });
    sockets[0]?.drop(1012);
    expect(connection.status.state).toBe("connecting");
    latest().welcome();
    expect([connection.status.state, sockets.length]).toEqual(["online", 2]);
  });

  it("is tried again until the old socket closes, and then comes back as after any loss", () => {
    latest().welcome();
    const old = latest();
    old.say({ type: "move", within_ms: 3_000 });
    latest().drop();
    expect([connection.status.state, sockets.length]).toEqual(["online", 2]);
    vi.advanceTimersByTime(750);
    expect(sockets.length).toBe(3);
    latest().drop();
    old.drop(1012);
    expect(connection.status).toMatchObject({ state: "waiting", retryAtMs: Date.now() + 250 });
    vi.advanceTimersByTime(250);
    latest().welcome();
    expect([connection.status.state, sockets.length]).toEqual(["online", 4]);
    vi.advanceTimersByTime(5_000);
    expect(sockets.length).toBe(4);
  });

  it("a second attempt takes over like a first", () => {
    latest().welcome();
    const old = latest();
    old.say({ type: "move", within_ms: 3_000 });
    latest().drop();
    vi.advanceTimersByTime(750);
    latest().welcome();
    expect([old.closed, latest().closed, connection.status.state]).toEqual([1000, undefined, "online"]);
    expect(seen.filter((what) => what === "disconnected")).toEqual([]);
  });

  it("is not tried again when the time is over", () => {
    latest().welcome();
    latest().say({ type: "move", within_ms: 100 });
    vi.advanceTimersByTime(200);
    latest().drop();
    vi.advanceTimersByTime(5_000);
    expect([connection.status.state, sockets.length]).toEqual(["online", 2]);
  });

  it("a restart without notice is followed by a short wait", () => {
    latest().welcome();
    latest().drop(1012);
    expect(connection.status).toMatchObject({ state: "waiting", retryAtMs: Date.now() + 250 });
  });
});

it("frames it cannot read end the connection, unknown types do not", () => {
  latest().welcome();
  latest().onmessage?.({ data: '{"type":"of_tomorrow"}' });
  expect(connection.status.state).toBe("online");
  latest().onmessage?.({ data: new ArrayBuffer(3) });
  expect([sockets[0]?.closed, connection.status.state]).toEqual([4400, "waiting"]);
});

it("does nothing more once stopped", () => {
  latest().welcome();
  connection.stop();
  vi.advanceTimersByTime(100_000);
  expect([sockets.length, latest().closed, connection.send({ type: "heartbeat" })]).toEqual([1, 1000, false]);
});
