//! A server with rooms to come into by invites, and mailboxes for moves, for tests. Rooms answer as `RoomServer` does; who may
//! ask, and what enters, is decided here as the protocol says. What it answers can be changed.

import { type Api, ApiError } from "../api.ts";
import { b64, fromB64 } from "../base64url.ts";
import { type Bytes } from "../bytes.ts";
import { type Device } from "../crypto/device.ts";
import { readHeader } from "../crypto/envelope.ts";
import { sealRoomKey } from "../crypto/sealed-key.ts";
import { deviceKeys } from "../crypto/epoch-record.ts";
import { type RoomServer } from "./room-server.ts";
import {
  type Committed,
  type CreateInvite,
  type Entered,
  type ErrorCode,
  type Invite,
  type JoinRequest,
  type StepRequest,
} from "../../protocol.gen.ts";

type Part = "nonce" | "reveal" | "answer";

interface Mailbox extends Partial<Record<Part, Bytes>> {
  readonly offer: Bytes;
}

/** What must be in a mailbox before each part. */
const BEFORE = { nonce: "offer", reveal: "nonce", answer: "reveal" } as const;

interface Housed {
  readonly room: RoomServer;
  readonly name: string;
  /** Replaced when an owner replaces the key. */
  recovery: Device;
  /** Recovery devices in whose place others came. */
  readonly retired: Set<string>;
  readonly members: Set<string>;
  readonly invites: Map<string, CreateInvite & { uses: number; by: string }>;
  locked: boolean;
}

export class House {
  readonly rooms = new Map<string, Housed>();
  readonly mailboxes = new Map<string, Mailbox>();
  /** Calls in their order, by name. */
  readonly calls: string[] = [];
  /** What a call fails with, if it shall. */
  fault: (call: string) => ErrorCode | "offline" | undefined = () => undefined;
  /** Happens before a call is looked at. */
  before: (call: string) => Promise<unknown> | undefined = () => undefined;
  /** Changes an answer of a move's mailbox. */
  tamper: (part: "offer" | Part, bytes: Bytes) => Bytes = (_, bytes) => bytes;

  /** Takes a room in; its first key is sealed to the recovery device. */
  async add(name: string, room: RoomServer, recovery: Device, ...members: readonly Device[]): Promise<Housed> {
    const key = b64(await sealRoomKey(await deviceKeys(recovery), room.bytes, 0, room.keys[0] as Bytes));
    room.sealed.set(0, new Map([[recovery.id, key]]));
    const ids = new Set(members.map(({ id }) => id));
    const housed: Housed = {
      room,
      name,
      recovery,
      retired: new Set(),
      members: ids,
      invites: new Map(),
      locked: false,
    };
    this.rooms.set(room.id, housed);
    return housed;
  }

  lock(id: string, locked: boolean): void {
    const housed = this.rooms.get(id);
    if (housed !== undefined) housed.locked = locked;
  }

  /** The recovery device from now on. */
  replaceRecovery(id: string, recovery: Device): void {
    const housed = this.rooms.get(id);
    if (housed === undefined) return;
    housed.retired.add(housed.recovery.id);
    housed.recovery = recovery;
  }

  /** Drops what is in all mailboxes. */
  expire(): void {
    this.mailboxes.clear();
  }

  /** What `device` gets. */
  api(device: Device): Api {
    const call = async <T>(name: string, give: () => T | Promise<T>): Promise<T> => {
      this.calls.push(name);
      await this.before(name);
      const code = this.fault(name);
      if (code !== undefined) throw errorOf(code);
      return give();
    };
    const inside = (id: string) => this.#inside(id, device);
    const calls = {
      nonce: () => Promise.resolve("nonce"),
      signIn: (nonce: string) => Promise.resolve({ nonce, sign_key: b64(device.signKey), agree_key: "" }),
      renew: () => call("renew", () => this.#know(device)),
      lookup: (name: string) => call("lookup", () => this.#lookup(name)),
      join: (request: JoinRequest) => call("join", () => this.#join(device, request)),
      chain: (id: string, before: number | undefined, limit: number) =>
        call("chain", () => inside(id).room.api(device).chain(id, before, limit)),
      members: (id: string) => call("members", () => inside(id).room.api(device).members(id)),
      history: (id: string, before: number, limit: number) =>
        call("history", () => inside(id).room.api(device).history(id, before, limit)),
      epochKeys: (id: string, epoch: number, of: readonly string[] = []) =>
        call("epochKeys", () => inside(id).room.api(device).epochKeys(id, epoch, of)),
      createInvite: (id: string, invite: CreateInvite) =>
        call("createInvite", () => createInvite(inside(id), invite, device)),
      revokeInvite: (id: string, grant: string) => call("revokeInvite", () => inside(id).invites.delete(grant)),
      step: (id: string, request: StepRequest) => call("step", () => takeStep(inside(id), request)),
      putOffer: (id: string, offer: Bytes) => call("putOffer", () => this.#putOffer(id, offer)),
      offer: (id: string) => call("offer", () => this.tamper("offer", this.#mailbox(id).offer)),
      moveNonce: (id: string) => call("moveNonce", () => this.#read(id, "nonce")),
      putNonce: (id: string, nonce: Bytes) => call("putNonce", () => this.#put(id, "nonce", nonce)),
      reveal: (id: string) => call("reveal", () => this.#read(id, "reveal")),
      putReveal: (id: string, reveal: Bytes) => call("putReveal", () => this.#put(id, "reveal", reveal)),
      putAnswer: (id: string, answer: Bytes) => call("putAnswer", () => this.#put(id, "answer", answer)),
      answer: (id: string) => call("answer", () => this.#read(id, "answer")),
    };
    return calls as unknown as Api;
  }

  #know({ id }: Device): void {
    const known = [...this.rooms.values()].some(
      ({ members, recovery, retired }) => members.has(id) || recovery.id === id || retired.has(id),
    );
    if (!known) throw errorOf("device_unknown");
  }

  #inside(id: string, device: Device): Housed {
    const housed = this.rooms.get(id);
    if (housed?.retired.has(device.id) === true) throw errorOf("recovery_replaced");
    if (housed === undefined || (!housed.members.has(device.id) && housed.recovery.id !== device.id)) {
      throw errorOf("not_a_member");
    }
    return housed;
  }

  /** An unknown name gets an id that leads nowhere. */
  #lookup(name: string): { readonly room: string } {
    const housed = [...this.rooms.values()].find((one) => one.name === name);
    return { room: housed?.room.id ?? b64(new Uint8Array(16)) };
  }

  #join(device: Device, { room: id, grant, auth }: JoinRequest): Entered {
    const housed = this.rooms.get(id);
    const invite = housed?.invites.get(grant);
    if (housed === undefined || invite === undefined || invite.auth !== auth) throw errorOf("wrong_credentials");
    const { room, members } = housed;
    if (!members.has(device.id)) {
      // An invite of the recovery device leads in all the same.
      if (housed.locked && invite.by !== housed.recovery.id) throw errorOf("room_locked");
      if (invite.uses_max !== undefined && invite.uses >= invite.uses_max) throw errorOf("invite_used_up");
      invite.uses++;
      members.add(device.id);
      room.join(device);
    }
    const { epoch, hash } = room.chain.pin;
    const record = room.log.find((entry) => entry.hash === hash);
    if (record === undefined) throw new Error("the room has no record");
    return {
      room: {
        room: id,
        name: housed.name,
        history: room.history,
        head: room.head,
        epoch,
        chain: room.chain.newest.seq,
        locked: housed.locked,
        role: "member",
      },
      device: device.id,
      blob: invite.blob,
      epoch_record: { seq: record.seq, at_ms: record.atMs, envelope: b64(record.envelope) },
      token_expires_at_ms: 0,
    };
  }

  #mailbox(id: string): Mailbox {
    const mailbox = this.mailboxes.get(id);
    if (mailbox === undefined) throw errorOf("move_not_found");
    return mailbox;
  }

  #putOffer(id: string, offer: Bytes): void {
    const known = this.mailboxes.get(id)?.offer;
    if (known !== undefined && b64(known) !== b64(offer)) throw errorOf("move_taken");
    if (known === undefined) this.mailboxes.set(id, { offer });
  }

  /** The new device's parts and the old one's come in turn; each is put there once. */
  #put(id: string, part: Part, bytes: Bytes): void {
    const mailbox = this.#mailbox(id);
    if (mailbox[BEFORE[part]] === undefined) throw errorOf("move_not_found");
    mailbox[part] ??= bytes;
    if (b64(mailbox[part]) !== b64(bytes)) throw errorOf("move_taken");
  }

  #read(id: string, part: Part): Bytes {
    const bytes = this.#mailbox(id)[part];
    if (bytes === undefined) throw errorOf("move_not_found");
    return this.tamper(part, bytes);
  }
}

function errorOf(code: ErrorCode | "offline"): ApiError {
  return new ApiError({ code, retry: code === "offline" || code === "unavailable" ? "later" : "never" });
}

function createInvite(housed: Housed, invite: CreateInvite, by: Device): Invite {
  if (housed.locked && housed.recovery.id !== by.id) throw errorOf("room_locked");
  housed.invites.set(invite.grant, { ...invite, uses: 0, by: by.id });
  return { grant: invite.grant, made_by: by.id, created_at_ms: 0, uses: 0 };
}

async function takeStep(housed: Housed, { envelope, effect }: StepRequest): Promise<Committed> {
  const bytes = fromB64(envelope);
  const { room } = housed;
  if (readHeader(bytes).targetSeq !== room.chain.newest.seq) throw errorOf("chain_moved");
  const seq = await room.append(bytes);
  if (effect.type === "lock") housed.locked = effect.locked;
  return { seq, at_ms: room.atMs, duplicate: false };
}
