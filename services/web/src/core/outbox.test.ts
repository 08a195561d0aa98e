import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { b64 } from "./base64url.ts";
import { concat, copy, u32, utf8, zeros, type Bytes } from "./bytes.ts";
import { Outbox } from "./outbox.ts";
import { type Answer, type OutboxNews, type OutboxWorld } from "./outbox-world.ts";
import { Store } from "./store.ts";

const ROOM = b64(zeros(16));

/** Envelopes of this test: instance ‖ counter ‖ text. */
const fakeEnvelope = (instance: Bytes, counter: number, body: string) => concat(instance, u32(counter), utf8(body));
const read = (envelope: Bytes) => ({
  instance: b64(envelope.subarray(0, 16)),
  counter: new DataView(envelope.buffer).getUint32(16),
  text: new TextDecoder().decode(envelope.subarray(20)),
});

/** A server with the append rule of the protocol. */
class FakeServer {
  log: string[] = [];
  #next = new Map<string, number>();
  #seqs = new Map<string, number>();
  #bytes = new Map<string, string>();
  refuse: ((text: string) => Answer | undefined) | undefined;

  append(envelope: Bytes): Answer {
    const { instance, counter, text } = read(envelope);
    const name = `${instance} ${counter}`;
    const known = this.#bytes.get(name);
    if (known !== undefined && known !== b64(envelope)) throw new Error("a counter was sealed twice");
    this.#bytes.set(name, b64(envelope));
    const refusal = this.refuse?.(text);
    if (refusal !== undefined) return refusal;
    const next = this.#next.get(instance) ?? 0;
    if (counter > next) return { ok: false, code: "out_of_order", expected: next };
    if (counter < next) return { ok: true, seq: this.#seqs.get(name) ?? 0 };
    this.#next.set(instance, next + 1);
    this.#seqs.set(name, this.log.push(text));
    return { ok: true, seq: this.log.length };
  }

  /** Forgets everything, as after a restored backup. */
  lose() {
    this.log = [];
    this.#next.clear();
  }
}

/** Web Locks of one browser. */
class FakeLocks {
  #holders: { signal: AbortSignal; hold: () => Promise<void> }[] = [];

  request = (_: string, signal: AbortSignal, hold: () => Promise<void>): Promise<void> => {
    const holder = { signal, hold };
    this.#holders.push(holder);
    if (this.#holders.length === 1) void this.#grant();
    return Promise.resolve();
  };

  async #grant(): Promise<void> {
    for (let holder = this.#holders[0]; holder !== undefined; holder = this.#holders[0]) {
      if (!holder.signal.aborted) await holder.hold();
      this.#holders.shift();
    }
  }
}

type Step = "sealed" | "stored" | "transmitted" | "committed" | "answered";

/** A browser with tabs over one database and one server. */
class Browser {
  readonly server = new FakeServer();
  readonly locks = new FakeLocks();
  readonly tabs: Tab[] = [];
  readonly store: Store;

  constructor(store: Store) {
    this.store = store;
  }

  async open(options: { crashAt?: Step; online?: boolean } = {}): Promise<Tab> {
    const tab = new Tab(this, options.crashAt, options.online ?? true);
    this.tabs.push(tab);
    await tab.outbox.start();
    return tab;
  }
}

class Tab {
  readonly outbox: Outbox;
  readonly browser: Browser;
  online: boolean;
  live = true;
  dead = false;
  losesAnswers = false;
  commitMs = 1;
  /** What the server waits for before it commits anything. */
  held: Promise<unknown> = Promise.resolve();
  introduction: () => string | undefined = () => undefined;
  messagesFromMs: number | null = null;
  /** How far its clock was set back. */
  behindMs = 0;
  refuseAtOnce: () => Answer | undefined = () => undefined;
  acknowledged: string[] = [];
  transmissions = 0;
  mostInFlight = 0;
  #inFlight = 0;
  #crashAt: Step | undefined;
  #nextId = 1;

  constructor(browser: Browser, crashAt: Step | undefined, online: boolean) {
    this.browser = browser;
    this.#crashAt = crashAt;
    this.online = online;
    const { store } = browser;
    const alive = async <T>(work: Promise<T>): Promise<T> => (this.dead ? new Promise<T>(() => undefined) : work);
    const world: OutboxWorld = {
      store: {
        outbox: (room) => alive(store.outbox(room)),
        addToOutbox: (row) => alive(store.addToOutbox(row)),
        changeOutbox: async (room, change) => {
          if (this.dead) return new Promise(() => undefined);
          const rows = await store.changeOutbox(room, change);
          if (rows.some((row) => row.state === "sealed")) this.at("stored");
          return alive(Promise.resolve(rows));
        },
        sealText: (purpose, text) => alive(store.sealText(purpose, text)),
        openText: (purpose, sealed) => alive(store.openText(purpose, sealed)),
      },
      lock: (name, signal, hold) => browser.locks.request(name, signal, hold),
      tell: (news: OutboxNews) => {
        for (const other of browser.tabs) if (other !== this && !other.dead) void other.outbox.told(news);
      },
      seal: async ({ body, instance, counter }) => {
        if (!this.live) return undefined;
        const envelope = fakeEnvelope(instance, counter, (JSON.parse(body) as { text: string }).text);
        this.at("sealed");
        return { envelope, hash: b64(envelope), epoch: 0 };
      },
      transmit: (envelope) => this.#transmit(copy(envelope)),
      introducesItself: () => false,
      introduction: () => Promise.resolve(this.introduction()),
      introduced: () => (this.introduction = () => undefined),
      messagesFromMs: () => this.messagesFromMs,
      acknowledged: (seq) => this.acknowledged.push(`${seq}`),
      changed: () => undefined,
      now: () => Date.now() - this.behindMs,
      setTimeout: (run, ms) => setTimeout(run, ms),
    };
    this.outbox = new Outbox(ROOM, world);
  }

  /** Dies when it has come to the step it shall crash at. */
  at(step: Step) {
    if (this.#crashAt !== step || this.dead) return;
    this.die();
  }

  die() {
    this.dead = true;
    this.outbox.stop();
  }

  #transmit(envelope: Bytes): number | undefined {
    if (!this.online || this.dead) return undefined;
    const id = this.#nextId++;
    this.transmissions++;
    this.mostInFlight = Math.max(this.mostInFlight, ++this.#inFlight);
    this.at("transmitted");
    if (this.dead) return id;
    const refusal = this.refuseAtOnce();
    if (refusal !== undefined) {
      this.#inFlight--;
      setTimeout(() => void this.outbox.answered(id, refusal), 0);
      return id;
    }
    setTimeout(() => void this.held.then(() => this.#commit(id, envelope)), this.commitMs);
    return id;
  }

  #commit(id: number, envelope: Bytes): void {
    this.#inFlight--;
    const answer = this.browser.server.append(envelope);
    this.at("committed");
    if (this.dead || !this.online || this.losesAnswers) return;
    void this.outbox.answered(id, answer);
    this.at("answered");
  }

  say(text: string): Promise<string> {
    return this.outbox.add(3, JSON.stringify({ text }));
  }

  get states(): string[] {
    return this.outbox.items.map(({ body, state }) => `${(JSON.parse(body) as { text: string }).text} ${state}`);
  }
}

let browser: Browser;
let databases = 0;
const texts = (count: number) => Array.from({ length: count }, (_, index) => `m${index}`);
/** Machines that test are slow at times; only failing tests wait it out. */
const PATIENCE_MS = 20_000;
const delivered = (expected: readonly string[]) =>
  vi.waitFor(() => expect(browser.server.log).toEqual(expected), { timeout: PATIENCE_MS, interval: 5 });
const emptied = (tab: Tab) =>
  vi.waitFor(
    () => {
      expect(tab.states.filter((state) => state.endsWith("waiting"))).toEqual([]);
    },
    { timeout: PATIENCE_MS, interval: 5 },
  );

beforeEach(async () => {
  browser = new Browser(await Store.open(`outbox-${databases++}`));
});

afterEach(() => {
  for (const tab of browser.tabs) tab.die();
  browser.store.close();
});

it("messages arrive once and in the order written, at most eight in flight", async () => {
  const tab = await browser.open();
  for (const text of texts(30)) await tab.say(text);
  await delivered(texts(30));
  await emptied(tab);
  expect(tab.mostInFlight).toBeLessThanOrEqual(8);
  expect(tab.acknowledged.length).toBe(30);
  expect(await browser.store.outbox(ROOM)).toEqual([]);
  tab.outbox.seen(29);
  expect(tab.states).toEqual(["m29 acknowledged"]);
});

describe.each<Step>(["sealed", "stored", "transmitted", "committed", "answered"])(
  "a tab that dies when it has %s",
  (step) => {
    it("loses nothing and repeats nothing", async () => {
      const first = await browser.open({ crashAt: step });
      // Written before the crash or not, all of it is in storage before anything is sealed.
      first.live = false;
      for (const text of texts(5)) await first.say(text);
      first.live = true;
      first.outbox.kick();
      await vi.waitFor(() => expect(first.dead).toBe(true));
      const second = await browser.open();
      await second.say("after");
      await delivered([...texts(5), "after"]);
      await emptied(second);
      expect(await browser.store.outbox(ROOM)).toEqual([]);
    });
  },
);

it("what was written offline is sent when there is a connection again, with the same bytes", async () => {
  const tab = await browser.open({ online: false });
  for (const text of texts(3)) await tab.say(text);
  expect(tab.states).toEqual(["m0 waiting", "m1 waiting", "m2 waiting"]);
  tab.online = true;
  tab.outbox.connected();
  await delivered(texts(3));
});

it("an answer lost with the connection is asked for again, and nothing is repeated", async () => {
  const tab = await browser.open();
  tab.losesAnswers = true;
  await tab.say("m0");
  await delivered(["m0"]);
  tab.outbox.disconnected();
  expect(tab.states).toEqual(["m0 waiting"]);
  tab.losesAnswers = false;
  tab.outbox.connected();
  await emptied(tab);
  expect([browser.server.log, tab.transmissions]).toEqual([["m0"], 2]);
});

it("cancelling is free until a message is sealed", async () => {
  const tab = await browser.open({ online: false });
  tab.live = false;
  const [a, b] = [await tab.say("a"), await tab.say("b")];
  expect(await tab.outbox.cancel(a)).toBe(true);
  tab.live = true;
  tab.outbox.kick();
  await vi.waitFor(async () => expect((await browser.store.outbox(ROOM))[0]?.state).toBe("sealed"));
  expect(await tab.outbox.cancel(b)).toBe(false);
  tab.online = true;
  tab.outbox.connected();
  await delivered(["b"]);
});

it("only the tab that holds the lock sends; the other shows what waits and takes over", async () => {
  const first = await browser.open();
  const second = await browser.open();
  await second.say("from the second");
  await delivered(["from the second"]);
  expect([first.transmissions, second.transmissions]).toEqual([1, 0]);
  await emptied(second);
  expect(second.states).toEqual(["from the second acknowledged"]);
  first.die();
  await second.say("by itself");
  await delivered(["from the second", "by itself"]);
  expect(second.transmissions).toBe(1);
});

it("a refused message fails, the others are sealed anew and arrive", async () => {
  const tab = await browser.open();
  tab.live = false;
  for (const text of ["a", "bad", "c", "d"]) await tab.say(text);
  browser.server.refuse = (text) => (text === "bad" ? { ok: false, code: "bad_envelope" } : undefined);
  tab.live = true;
  tab.outbox.kick();
  await delivered(["a", "c", "d"]);
  await emptied(tab);
  const failed = tab.outbox.items.find(({ state }) => state === "failed");
  expect(failed?.failure).toBe("bad_envelope");
  browser.server.refuse = undefined;
  await tab.outbox.retry(failed?.local ?? "");
  await delivered(["a", "c", "d", "bad"]);
});

it("a refusal that overtakes the acknowledgement of what was sent before it doubles nothing", async () => {
  const tab = await browser.open();
  tab.live = false;
  for (const text of ["a", "bad", "c"]) await tab.say(text);
  tab.commitMs = 30;
  browser.server.refuse = (text) => (text === "bad" ? { ok: false, code: "bad_envelope" } : undefined);
  let sent = 0;
  // As a gateway does it: what is not well formed is refused at once, an acknowledgement comes after the commit.
  tab.refuseAtOnce = () => (++sent === 2 ? { ok: false, code: "bad_envelope" } : undefined);
  tab.live = true;
  tab.outbox.kick();
  await delivered(["a", "c"]);
  await emptied(tab);
  expect(browser.server.log).toEqual(["a", "c"]);
});

it("told to wait, it waits and then goes on in order", async () => {
  let refusals = 3;
  browser.server.refuse = () => (refusals-- > 0 ? { ok: false, code: "too_fast", retryAfterMs: 20 } : undefined);
  const tab = await browser.open();
  for (const text of texts(6)) await tab.say(text);
  await delivered(texts(6));
  await emptied(tab);
});

it("told to wait, it goes on in time though its clock is set back meanwhile", async () => {
  const tab = await browser.open();
  browser.server.refuse = () => {
    browser.server.refuse = undefined;
    setTimeout(() => (tab.behindMs = 3_600_000), 5);
    return { ok: false, code: "too_fast", retryAfterMs: 20 };
  };
  for (const text of texts(2)) await tab.say(text);
  await delivered(texts(2));
  expect(tab.behindMs).toBe(3_600_000);
});

it("a rate limit is waited out, though refusals overtake acknowledgements", async () => {
  // As a gateway does it: refused at once, acknowledged after the commit; what is refused costs nothing.
  let tokens = 3;
  const refill = setInterval(() => (tokens = Math.min(3, tokens + 1)), 5);
  const tab = await browser.open();
  tab.commitMs = 8;
  tab.refuseAtOnce = () => (tokens > 0 ? (tokens--, undefined) : { ok: false, code: "too_fast", retryAfterMs: 5 });
  for (const text of texts(25)) await tab.say(text);
  await delivered(texts(25));
  await emptied(tab);
  clearInterval(refill);
  expect(tab.transmissions).toBeLessThan(75);
});

it("when the server has lost what it had, the rest is sealed anew", async () => {
  const tab = await browser.open();
  await tab.say("m0");
  await delivered(["m0"]);
  await emptied(tab);
  browser.server.lose();
  await tab.say("m1");
  await delivered(["m1"]);
  await emptied(tab);
});

it("texts lie in storage sealed only", async () => {
  const tab = await browser.open({ online: false });
  tab.live = false;
  await tab.say("secret words");
  const [row] = await browser.store.outbox(ROOM);
  expect(new TextDecoder().decode(row?.body.bytes)).not.toContain("secret");
  expect(browser.store.identity.local.extractable).toBe(false);
  expect(browser.store.identity.device.sign.extractable).toBe(false);
});

describe("slow mode", () => {
  const typed = (tab: Tab, type: number, text: string) =>
    tab.outbox.add(type, JSON.stringify({ text }), type === 3 ? 0 : 1);

  it("holds messages back while all else goes on, and then they go in the order written", async () => {
    const tab = await browser.open();
    let slow = true;
    browser.server.refuse = (text) => (slow && text.startsWith("m") ? { ok: false, code: "slow_mode" } : undefined);
    await typed(tab, 3, "m0");
    await typed(tab, 7, "a reaction");
    await typed(tab, 3, "m1");
    await typed(tab, 4, "a leave");
    await delivered(["a reaction", "a leave"]);
    slow = false;
    await delivered(["a reaction", "a leave", "m0", "m1"]);
    await emptied(tab);
  });

  it("that the room knows of is not tried out", async () => {
    const tab = await browser.open();
    tab.messagesFromMs = Date.now() + 3_600_000;
    await typed(tab, 3, "m0");
    await typed(tab, 7, "a reaction");
    await delivered(["a reaction"]);
    await vi.waitFor(() => expect(tab.states.filter((state) => state.endsWith("waiting"))).toEqual(["m0 waiting"]));
    expect(tab.transmissions).toBe(1);
    tab.messagesFromMs = null;
    tab.outbox.kick();
    await delivered(["a reaction", "m0"]);
  });
});

it("what was sealed under a stale epoch is sealed anew, each once and in order", async () => {
  const tab = await browser.open();
  tab.live = false;
  for (const text of texts(5)) await tab.say(text);
  let stale = true;
  browser.server.refuse = () => (stale ? { ok: false, code: "stale_epoch" } : undefined);
  // The new epoch's key comes only after the refusals: until then nothing can be sealed.
  const refused = vi.fn(() => (tab.live = false));
  const { answered } = tab.outbox;
  tab.outbox.answered = (id, answer) => {
    if (!answer.ok) refused();
    return answered.call(tab.outbox, id, answer);
  };
  tab.live = true;
  tab.outbox.kick();
  await vi.waitFor(async () => {
    expect(refused).toHaveBeenCalled();
    expect((await browser.store.outbox(ROOM)).map(({ state }) => state)).toEqual(texts(5).map(() => "draft"));
  });
  const before = tab.transmissions;
  stale = false;
  tab.live = true;
  tab.introduction = () => JSON.stringify({ text: "who I am" });
  tab.outbox.kick();
  await delivered(["who I am", ...texts(5)]);
  await emptied(tab);
  expect(tab.transmissions - before).toBe(6);
});

it("a muted member's message fails, and goes when it is tried again", async () => {
  const tab = await browser.open();
  browser.server.refuse = () => ({ ok: false, code: "muted" });
  const local = await tab.say("m0");
  await vi.waitFor(() => expect(tab.outbox.items[0]).toMatchObject({ state: "failed", failure: "muted" }));
  browser.server.refuse = undefined;
  await tab.outbox.retry(local);
  await delivered(["m0"]);
});

describe("a room that ends before an answer has come", () => {
  /** Keeps the server from committing until the answer is called. */
  function hold(tab: Tab): () => void {
    let commit = () => {};
    tab.held = new Promise<void>((resolve) => (commit = resolve));
    return () => commit();
  }

  /** Two messages are on their way and committed, and the room ends before the server's answers come. */
  async function overtaken(answers: boolean): Promise<Tab> {
    const tab = await browser.open();
    const commit = hold(tab);
    tab.losesAnswers = !answers;
    for (const text of texts(2)) await tab.say(text);
    await vi.waitFor(() => expect(tab.transmissions).toBe(2));
    await tab.outbox.end("removed");
    expect(tab.outbox.items.map(({ state, failure, hash }) => [state, failure, typeof hash])).toEqual([
      ["failed", "removed", "string"],
      ["failed", "removed", "string"],
    ]);
    commit();
    await delivered(texts(2));
    return tab;
  }

  it("says of none that it was not sent which was", async () => {
    const tab = await overtaken(true);
    await vi.waitFor(() => expect(tab.states).toEqual(["m0 acknowledged", "m1 acknowledged"]));
    expect(await browser.store.outbox(ROOM)).toEqual([]);
  });

  it("knows of what is refused then that it was not sent, and sends none of it by itself", async () => {
    browser.server.refuse = (text) => (text === "m1" ? { ok: false, code: "not_a_member" } : undefined);
    const tab = await browser.open();
    const commit = hold(tab);
    for (const text of texts(2)) await tab.say(text);
    await vi.waitFor(() => expect(tab.transmissions).toBe(2));
    tab.live = false;
    await tab.say("unsealed");
    await tab.outbox.end("removed");
    commit();
    await vi.waitFor(() => expect(tab.states).toEqual(["m0 acknowledged", "m1 failed", "unsealed failed"]));
    await vi.waitFor(() => expect(tab.outbox.items.at(1)?.hash).toBeUndefined());
    expect(tab.outbox.items.at(2)?.hash).toBeUndefined();
    expect([tab.transmissions, browser.server.log]).toEqual([2, ["m0"]]);
  });

  it("does not have it twice when it is tried again after coming back, whether or not it had arrived", async () => {
    const tab = await overtaken(false);
    const rows = await browser.store.outbox(ROOM);
    tab.die();
    // One of the two is tried again, and something new is said.
    const back = await browser.open();
    expect(back.states).toEqual(["m0 failed", "m1 failed"]);
    await back.outbox.retry(rows[1]?.local ?? "");
    await back.say("after");
    await delivered(["m0", "m1", "after"]);
    await vi.waitFor(() => expect(back.states.filter((state) => state.endsWith("waiting"))).toEqual([]));
    expect(back.states).toContain("m0 failed");
    // The log has the other one.
    await back.outbox.arrived(rows[0]?.sealed?.hash ?? "");
    expect(back.states).not.toContain("m0 failed");
    expect(await browser.store.outbox(ROOM)).toEqual([]);
  });

  it("has what never arrived once it is tried again", async () => {
    const tab = await browser.open();
    hold(tab);
    const local = await tab.say("m0");
    await vi.waitFor(() => expect(tab.transmissions).toBe(1));
    await tab.outbox.end("removed");
    tab.die();
    const back = await browser.open();
    await back.outbox.retry(local);
    await delivered(["m0"]);
    await emptied(back);
  });
});
