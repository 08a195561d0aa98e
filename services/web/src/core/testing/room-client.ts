//! A room of the page, connected to a test's server.

import { vi } from "vitest";

import { b64 } from "../base64url.ts";
import { profileBody } from "../bodies.ts";
import { random, type Bytes } from "../bytes.ts";
import { EntryType } from "../crypto/envelope.ts";
import { keepRoomKey } from "../crypto/room-key.ts";
import { type RawEntry } from "../frames.ts";
import { outboxDraft } from "../outbox-items.ts";
import { Room, type RoomWorld } from "../room.ts";
import { Store, type RoomRecord } from "../store.ts";
import { type RoomServer } from "./room-server.ts";

/** Waits in this many times less than they take. */
const HASTE = 100;
/** A page that a follow begins with that has no cursor, or one too far behind. */
export const PAGE = 50;
/** So much a server sends of what was missed. */
const BEHIND_MAX = 1_000;

let databases = 0;

export class RoomClient {
  room: Room;
  readonly server: RoomServer;
  readonly store: Store;
  /** Everything that was transmitted. */
  readonly sent: Bytes[] = [];
  reloads = 0;
  #requests = 1;
  #online = false;

  private constructor(server: RoomServer, store: Store, record: RoomRecord) {
    this.server = server;
    this.store = store;
    this.room = new Room(record, this.#world());
  }

  /** Enters with the key and record of the room's present epoch. */
  static async enter(server: RoomServer): Promise<RoomClient> {
    const store = await Store.open(`room-${databases++}`);
    server.join(store.identity.device);
    const record = await RoomClient.record(server, store);
    const profile = { type: EntryType.profile, body: profileBody("Page", true, store.identity.device) };
    await store.keepRoom(server.id, () => record, await outboxDraft(store, server.id, profile, Date.now()));
    return new RoomClient(server, store, record);
  }

  static async record(server: RoomServer, store: Store, known?: RoomRecord): Promise<RoomRecord> {
    const { epoch, hash } = server.chain.pin;
    const key = await keepRoomKey(store.identity.local, server.bytes, epoch, server.keys[epoch] as Bytes);
    const keys = [...(known?.keys ?? []), key];
    const { ended: _ended, ...kept } = known ?? { readSeq: 0, life: b64(random(16)) };
    return { ...kept, room: server.id, name: "Garden", role: "member", keys, pinned: { epoch, hash } };
  }

  get device() {
    return this.store.identity.device;
  }

  /** Follows from the cursor; without one, from the latest page of `page` entries. */
  async connect(page = PAGE): Promise<void> {
    await this.room.start();
    this.#online = true;
    this.room.connected();
    this.#follow(page);
    this.server.listeners.add(this.#hear);
    await this.settled();
  }

  disconnect(): void {
    this.#online = false;
    this.server.listeners.delete(this.#hear);
    this.room.disconnected();
  }

  /** Comes back on a new connection; what is further behind than `behindMax` is not sent. */
  async reconnect(behindMax = BEHIND_MAX): Promise<void> {
    this.#online = true;
    this.room.connected();
    this.#follow(PAGE, behindMax);
    this.server.listeners.add(this.#hear);
    await this.settled();
  }

  /** Waits until the log has reached the server's, and what can be sent has been. */
  settled(): Promise<void> {
    const check = () => {
      if (this.room.log.newest?.seq !== this.server.head) throw new Error("the log is behind");
      if (this.room.chain.fold === undefined) throw new Error("the chain is not there");
      const waits = this.room.outbox.items.some(({ state }) => state === "waiting");
      if (waits && this.room.keys.current !== undefined) throw new Error("something waits to be sent");
    };
    return vi.waitFor(check, { timeout: 5_000, interval: 5 });
  }

  /** Loads the page anew. */
  async restart(): Promise<void> {
    this.disconnect();
    this.room.stop();
    const [record] = await this.store.rooms();
    if (record === undefined) throw new Error("the room is not kept");
    this.room = new Room(record, this.#world());
    await this.connect();
  }

  /** Enters again by a grant of the present epoch. */
  async rejoin(): Promise<void> {
    this.disconnect();
    this.room.stop();
    this.server.join(this.device);
    this.room = new Room(await RoomClient.record(this.server, this.store, this.room.record), this.#world());
    await this.connect();
  }

  close(): void {
    this.#online = false;
    this.room.stop();
    this.server.listeners.delete(this.#hear);
    this.store.close();
  }

  readonly #hear = (raw: RawEntry) => this.room.entry(raw);

  #follow(page: number, behindMax = BEHIND_MAX): void {
    const { server } = this;
    const id = this.#requests++;
    const cursor = this.room.follow(id);
    const { history, head } = server;
    const skipped = cursor !== undefined && head - cursor.seq > behindMax;
    const from = cursor === undefined || skipped ? Math.max(1, head - page + 1) : cursor.seq + 1;
    const chain = server.chain.newest.seq;
    const frame = { type: "followed", id, room: server.id, history, head, from, skipped, chain } as const;
    this.room.followed({ ...frame, role: "member", here: [], here_count: 0 });
    for (let seq = from; seq <= head; seq++) for (const shown of server.delivered(seq)) this.room.entry(shown);
  }

  #world(): RoomWorld {
    return {
      api: this.server.api(this.device),
      store: this.store,
      transmit: (envelope) => this.#transmit(envelope),
      sendTyping: () => undefined,
      refollow: () => undefined,
      reload: () => void this.#reload(),
      reconnect: () => undefined,
      lock: (_, signal, hold) => (signal.aborted ? Promise.resolve() : hold()),
      tell: () => undefined,
      changed: () => undefined,
      now: () => Date.now(),
      setTimeout: (run, ms) => setTimeout(run, ms / HASTE),
    };
  }

  async #reload(): Promise<void> {
    this.reloads++;
    const { record } = this.room;
    this.disconnect();
    this.room.stop();
    this.room = new Room(record, this.#world());
    await this.connect();
  }

  #transmit(envelope: Bytes): number | undefined {
    if (!this.#online) return undefined;
    const id = this.#requests++;
    const room = this.room;
    this.sent.push(envelope);
    void this.server.receive(envelope).then((answer) => {
      if (!this.#online) return;
      const { id: at } = this.server;
      if (answer.ok) room.sent({ type: "sent", id, room: at, seq: answer.seq, at_ms: 1, duplicate: false });
      else {
        const waiting = answer.retryAfterMs === undefined ? {} : { retry_after_ms: answer.retryAfterMs };
        const epoch = answer.code === "stale_epoch" ? { epoch: this.server.epoch } : {};
        room.refused({ type: "error", id, code: answer.code, message: "", retry: "never", ...waiting, ...epoch });
      }
    });
    return id;
  }
}
