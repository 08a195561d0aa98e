//! This browser's session with its server: the rooms it is a member of over one connection, in step with the other tabs.

import { Api, ApiError } from "./api.ts";
import { type Bytes } from "./bytes.ts";
import { Connection, type ConnectionStatus, type ConnectionWorld } from "./connection.ts";
import { type PasswordHash } from "./crypto/argon2id.ts";
import { type Device } from "./crypto/device.ts";
import { type EnterWorld } from "./enter.ts";
import { roomOfEnvelope, sendFrame, type RawEntry } from "./frames.ts";
import { makeInvite, type InviteLimits, type NewInvite } from "./make-invite.ts";
import { type OutboxNews } from "./outbox-world.ts";
import type { RecoverWorld } from "./recovering.ts";
import { type RoomDraft } from "./room-draft.ts";
import { Room } from "./room.ts";
import { SessionRequests } from "./session-requests.ts";
import { type RoomRecord, type Store } from "./store.ts";
import { ROOMS_PER_SESSION_MAX, type ClientFrame, type ServerFrame } from "../protocol.gen.ts";

/** What the page gives a session. */
export interface SessionWorld extends Omit<ConnectionWorld, "renew"> {
  /** The page's origin, without a trailing slash. */
  readonly origin: string;
  readonly fetch: typeof fetch;
  readonly hash: PasswordHash;
  readonly lock: (name: string, signal: AbortSignal, hold: () => Promise<void>) => Promise<unknown>;
  /** To the other tabs of this browser. */
  readonly tell: (news: TabNews) => void;
}

/** What tabs tell one another. */
export type TabNews =
  | { readonly outbox: OutboxNews }
  | { readonly seen: { readonly room: string; readonly seq: number } }
  /** Rooms were entered or forgotten. */
  | { readonly rooms: true };

export interface SessionEvents {
  /** A room, or the list of rooms, has changed. */
  readonly roomChanged: (room: string) => void;
  readonly roomsChanged: () => void;
  readonly connectionChanged: (status: ConnectionStatus) => void;
}

export class Session {
  readonly store: Store;
  readonly api: Api;
  readonly rooms = new Map<string, Room>();
  readonly #world: SessionWorld;
  readonly #events: SessionEvents;
  readonly #connection: Connection;
  readonly #requests = new SessionRequests();
  #followed = new Set<string>();
  #open: string | undefined;

  constructor(store: Store, world: SessionWorld, events: SessionEvents) {
    this.store = store;
    this.#world = world;
    this.#events = events;
    this.api = new Api(store.identity.device, world.origin, world.fetch);
    this.#connection = new Connection(
      { ...world, renew: () => this.#renew() },
      {
        greeting: () => this.#greeting(),
        connected: () => {
          this.#setStranger(false);
          this.#each((room) => room.connected());
        },
        disconnected: () => this.#each((room) => room.disconnected()),
        frame: (frame) => this.#receive(frame),
        entry: (entry) => this.#receiveEntry(entry),
        changed: (status) => events.connectionChanged(status),
      },
    );
  }

  get status(): ConnectionStatus {
    return this.#connection.status;
  }

  get enterWorld(): EnterWorld {
    return { api: this.api, store: this.store, hash: this.#world.hash, now: () => this.#world.now() };
  }

  get recoverWorld(): RecoverWorld {
    const { origin, fetch, setTimeout } = this.#world;
    const apiOf = (device: Device) => new Api(device, origin, fetch, true);
    return { ...this.enterWorld, origin, apiOf, setTimeout: (run, ms) => setTimeout(run, ms) };
  }

  /** Takes up the rooms that are stored. Resolves when they can be shown; the connection comes later. */
  async start(): Promise<void> {
    await this.#takeUp(await this.store.rooms());
  }

  stop(): void {
    this.#connection.stop();
    this.#each((room) => room.stop());
  }

  /** In place of what is `left`, with what was being written there. */
  async #takeUp(records: readonly RoomRecord[], left: readonly Room[] = []): Promise<void> {
    const starting: Promise<void>[] = [];
    for (const record of records) {
      if (this.rooms.has(record.room)) continue;
      const before = left.find(({ draft }) => draft.written && draft.isOf(record));
      const room = this.#makeRoom(record, before?.draft);
      this.rooms.set(record.room, room);
      if (this.#connection.status.state === "online") room.connected();
      starting.push(record.ended === undefined ? room.start() : room.recall());
    }
    this.#events.roomsChanged();
    this.#followWanted();
    if (this.#living().length > 0) this.#connection.start();
    await Promise.all(starting);
  }

  #makeRoom(record: RoomRecord, draft: RoomDraft | undefined): Room {
    return new Room(
      record,
      {
        api: this.api,
        store: this.store,
        transmit: (envelope) => this.#transmit(record.room, envelope),
        sendTyping: () => void this.#connection.send({ type: "typing", room: record.room }),
        refollow: () => this.#refollow(record.room),
        reload: () => this.#reload(record.room),
        reconnect: () => this.#connection.reconnect(),
        lock: this.#world.lock,
        tell: (news) => this.#world.tell({ outbox: news }),
        changed: () => this.#events.roomChanged(record.room),
        now: () => this.#world.now(),
        setTimeout: (run, ms) => this.#world.setTimeout(run, ms),
      },
      draft,
    );
  }

  /** Takes a room up anew with what this page remembers of it. */
  #reload(id: string): void {
    const room = this.#leaveOut(id);
    if (room !== undefined) void this.#takeUp([room.record], [room]).catch(() => undefined);
  }

  /** The room as it was, if there is such. */
  #leaveOut(id: string): Room | undefined {
    const room = this.rooms.get(id);
    room?.stop();
    this.rooms.delete(id);
    this.#followed.delete(id);
    return room;
  }

  /** A room has just been entered; `record` is stored already. */
  async entered(record: RoomRecord): Promise<void> {
    const left = this.#leaveOut(record.room);
    this.#world.tell({ rooms: true });
    await this.#takeUp([record], left && [left]);
    // What could not be renewed is there now.
    if (this.status.state !== "online") this.retryNow();
  }

  /** Takes a room off this browser, with its keys. */
  async forget(id: string): Promise<void> {
    const room = this.rooms.get(id);
    room?.stop();
    this.rooms.delete(id);
    if (this.#followed.delete(id)) this.#connection.send({ type: "unfollow", room: id });
    await this.store.forgetRoom(id);
    this.#world.tell({ rooms: true });
    this.#events.roomsChanged();
  }

  /** The room that is shown is followed before all others. */
  show(id: string | undefined): void {
    this.#open = id;
    this.#followWanted();
  }

  /** Another tab did something. */
  async told(news: TabNews): Promise<void> {
    if ("outbox" in news) await this.rooms.get(news.outbox.room)?.outbox.told(news.outbox);
    else if ("seen" in news) this.rooms.get(news.seen.room)?.seen(news.seen.seq);
    else {
      const records = await this.store.rooms();
      const left: Room[] = [];
      for (const [id, room] of this.rooms) {
        const record = records.find((one) => one.room === id);
        // Forgotten, or entered again, perhaps with a newer key.
        if (record !== undefined && !isNewer(record, room.record)) continue;
        this.#leaveOut(id);
        left.push(room);
      }
      await this.#takeUp(records, left);
    }
  }

  /** Everything up to `seq` has been seen. */
  seen(id: string, seq: number): void {
    if (this.rooms.get(id)?.seen(seq) === true) this.#world.tell({ seen: { room: id, seq } });
  }

  retryNow(): void {
    this.#connection.retryNow();
  }

  networkBack(): void {
    this.#connection.networkBack();
  }

  shown(): void {
    this.#connection.shown();
  }

  // ---- invites

  /** As `makeInvite`. */
  createInvite(room: Room, limits: InviteLimits): Promise<NewInvite> {
    const { local } = this.store.identity;
    return makeInvite({ api: this.api, local, origin: this.#world.origin }, room, limits);
  }

  // ---- the connection

  /** As `Api.renew`. A server that knows no such device has gone back to before it came, or is another one. */
  async #renew(): Promise<void> {
    try {
      await this.api.renew();
    } catch (error) {
      if (error instanceof ApiError && error.code === "device_unknown") this.#setStranger(true);
      throw error;
    }
  }

  #setStranger(isStranger: boolean): void {
    this.#each((room) => {
      if (room.isStranger === isStranger) return;
      room.isStranger = isStranger;
      this.#events.roomChanged(room.id);
    });
  }

  #each(visit: (room: Room) => void): void {
    for (const room of this.#living()) visit(room);
  }

  #living(): Room[] {
    return [...this.rooms.values()].filter(({ record }) => record.ended === undefined);
  }

  /** At most as many rooms as a socket may follow: the one shown, then those with the newest messages. */
  #wanted(): Room[] {
    const rank = (room: Room) => (room.id === this.#open ? Infinity : (room.lastAtMs ?? 0));
    return this.#living()
      .sort((a, b) => rank(b) - rank(a))
      .slice(0, ROOMS_PER_SESSION_MAX);
  }

  #greeting(): ClientFrame[] {
    const wanted = this.#wanted();
    this.#followed = new Set(wanted.map(({ id }) => id));
    return wanted.map((room) => this.#follow(room));
  }

  #follow(room: Room): ClientFrame {
    const id = this.#requests.begin(room);
    const cursor = room.follow(id);
    return { type: "follow", id, room: room.id, ...(cursor && { cursor }) };
  }

  /** Follows what has become wanted, in place of what is wanted no longer. */
  #followWanted(): void {
    if (this.#connection.status.state !== "online") return;
    const wanted = this.#wanted();
    const missing = wanted.filter(({ id }) => !this.#followed.has(id));
    if (missing.length === 0) return;
    for (const id of this.#followed) {
      if (wanted.some((room) => room.id === id)) continue;
      this.#connection.send({ type: "unfollow", room: id });
      this.#followed.delete(id);
    }
    for (const room of missing) {
      this.#followed.add(room.id);
      this.#connection.send(this.#follow(room));
    }
  }

  #refollow(id: string): void {
    this.#followed.delete(id);
    this.#followWanted();
  }

  #transmit(room: string, envelope: Bytes): number | undefined {
    const to = this.rooms.get(room);
    if (to === undefined || this.#connection.status.state !== "online") return undefined;
    const id = this.#requests.begin(to);
    return this.#connection.send(sendFrame(id, envelope)) ? id : undefined;
  }

  #receiveEntry(entry: RawEntry): void {
    const id = roomOfEnvelope(entry.envelope);
    // A room not followed any more may still have entries on their way.
    if (this.#followed.has(id)) this.rooms.get(id)?.entry(entry);
  }

  #receive(frame: ServerFrame): void {
    switch (frame.type) {
      case "followed":
        this.#requests.answered(frame.id)?.followed(frame);
        break;
      case "sent":
        this.#requests.answered(frame.id)?.sent(frame);
        break;
      case "error":
        if (frame.id !== undefined) this.#requests.answered(frame.id)?.refused(frame);
        break;
      case "presence":
        this.rooms.get(frame.room)?.presenceChanged(frame.device, frame.state, frame.here_count);
        break;
      case "here":
        this.rooms.get(frame.room)?.stands(frame.here, frame.here_count);
        break;
      case "typing":
        this.rooms.get(frame.room)?.typing(frame.device);
        break;
      case "typing_count":
        this.rooms.get(frame.room)?.typingCounted(frame.count);
        break;
      case "heartbeat":
        for (const { room, head } of frame.heads) this.rooms.get(room)?.head(head);
        break;
      case "room_closed":
        this.#followed.delete(frame.room);
        this.rooms.get(frame.room)?.closed(frame.code);
        break;
      case "welcome":
      case "move":
        break;
    }
  }
}

/** Whether a room was entered again since `known` was remembered, perhaps after it was forgotten: then in any epoch. */
function isNewer({ life, ended, pinned }: RoomRecord, known: RoomRecord): boolean {
  return life !== known.life || (ended === undefined && known.ended !== undefined) || pinned.epoch > known.pinned.epoch;
}
