//! What this device sends into a room: into the outbox, and sealed when its turn comes.

import { ApiError } from "./api.ts";
import { b64, fromB64 } from "./base64url.ts";
import { DELETION_BODY, editBody, LEAVE_BODY, messageBody, pinBody, profileBody, reactionBody } from "./bodies.ts";
import { type Bytes } from "./bytes.ts";
import { type Device } from "./crypto/device.ts";
import { EntryType, envelopeHash, sealEnvelope } from "./crypto/envelope.ts";
import { type Place } from "./log-entry.ts";
import { type OutboxItem } from "./outbox-items.ts";
import { type JustSealed, type ToSeal } from "./outbox-world.ts";
import { type Outbox } from "./outbox.ts";
import { type RoomLost } from "./room-lost.ts";

/** Longest wait for the server's answer to something whose effect the user waits for. */
const ANSWER_LIMIT_MS = 15_000;

/** What nobody shows by itself: when it is refused and nobody waits to hear of it, it goes. */
const EPHEMERAL: ReadonlySet<number> = new Set([EntryType.reaction, EntryType.pin, EntryType.deletion]);

export interface SendingWorld {
  readonly room: string;
  readonly device: Device;
  readonly outbox: Outbox;
  readonly lost: RoomLost;
  /** The newest place of the log, when it has reached its live edge on a connection. */
  readonly edge: () => Place | undefined;
  /** The key to seal under; `undefined` while it is not the room's newest. */
  readonly key: () => { readonly epoch: number; readonly use: CryptoKey } | undefined;
  /** Whether this device has sealed its profile under `epoch`. Nothing else goes first. */
  readonly isIntroduced: (epoch: number) => boolean;
  readonly hasEnded: () => boolean;
  readonly clearDraft: () => void;
  readonly now: () => number;
  readonly changed: () => void;
}

export interface MessageExtras {
  readonly replyTo?: number;
  readonly mentions?: readonly string[];
}

export class RoomSending {
  readonly #world: SendingWorld;
  readonly #room: Bytes;
  readonly #device: Bytes;

  constructor(world: SendingWorld) {
    this.#world = world;
    this.#room = fromB64(world.room, 16);
    this.#device = fromB64(world.device.id, 16);
  }

  /** Seals what the outbox gives; `undefined` while that is not possible. */
  async seal(draft: ToSeal): Promise<JustSealed | undefined> {
    const [edge, key] = [this.#world.edge(), this.#world.key()];
    if (edge === undefined || key === undefined) return undefined;
    if (draft.type !== EntryType.profile && !this.#world.isIntroduced(key.epoch)) return undefined;
    const envelope = await sealEnvelope(key.use, {
      type: draft.type,
      room: this.#room,
      epoch: key.epoch,
      device: this.#world.device,
      deviceBytes: this.#device,
      instance: draft.instance,
      counter: draft.counter,
      targetSeq: draft.target,
      prev: { seq: edge.seq, hash: fromB64(edge.hash) },
      sentAtMs: this.#world.now(),
      body: draft.body,
    });
    return { envelope, hash: b64(await envelopeHash(envelope)), epoch: key.epoch };
  }

  /** Stores a checked text; it is on its way, and no draft any more, when this resolves. Rejects with `StorageRefused`. */
  async send(text: string, extras: MessageExtras = {}): Promise<void> {
    await this.#world.outbox.add(EntryType.message, messageBody(text, extras));
    this.#world.clearDraft();
  }

  /** As `send`: the text takes the place of the message's at `seq`. An edit of it that was refused is forgotten. */
  async edit(seq: number, text: string, mentions: readonly string[] = []): Promise<void> {
    const refused = this.#world.outbox.items.filter((item) => isFailedEdit(item) && item.target === seq);
    await this.#world.outbox.add(EntryType.edit, editBody(text, mentions), seq);
    for (const { local } of refused) await this.#world.outbox.cancel(local);
  }

  /** Resolves when the server has erased the message. Rejects with `ApiError`, `StorageRefused`. */
  async delete(seq: number): Promise<void> {
    await this.#answered(EntryType.deletion, DELETION_BODY, seq, true);
  }

  /** Its effect shows at once. Resolves when it is committed, or on its way for long. Rejects with `ApiError`, `StorageRefused`. */
  async react(seq: number, emoji: string, on: boolean): Promise<void> {
    await this.#answered(EntryType.reaction, reactionBody(emoji, on), seq, false);
  }

  /** As `react`. */
  async pin(seq: number, on: boolean): Promise<void> {
    await this.#answered(EntryType.pin, pinBody(on), seq, false);
  }

  /** Takes another name, already checked, in this room. */
  async changeName(name: string): Promise<void> {
    await this.#world.outbox.add(EntryType.profile, profileBody(name, false, this.#world.device));
  }

  /** Ends the membership. Rejects with `ApiError` when the server refuses or does not answer within 15 s. */
  async leave(): Promise<void> {
    await this.#answered(EntryType.leave, LEAVE_BODY, 0, true);
  }

  /** Sends a message or edit again that the server has lost, or that failed. Rejects with `StorageRefused`. */
  async sendAgain(key: string): Promise<void> {
    const { lost, outbox, changed } = this.#world;
    const message = lost.get(key);
    if (message === undefined) return outbox.retry(key);
    await outbox.add(EntryType.message, messageBody(message.text));
    lost.drop(key);
    changed();
  }

  /** Takes away what failed or was lost. Rejects with `StorageRefused`. */
  async discard(key: string): Promise<void> {
    const { lost, outbox, changed } = this.#world;
    if (lost.get(key) === undefined) await outbox.cancel(key);
    else lost.drop(key);
    changed();
  }

  /** What nobody waits for any more and was refused is taken back. */
  async dropRefused(): Promise<void> {
    const { outbox } = this.#world;
    for (const { local, type, state } of outbox.items) {
      if (state === "failed" && EPHEMERAL.has(type) && !outbox.isAwaited(local)) await outbox.cancel(local);
    }
  }

  async #answered(type: number, body: string, target: number, mustArrive: boolean): Promise<void> {
    const { outbox } = this.#world;
    const local = await outbox.add(type, body, target);
    const settled = await outbox.settled(local, ANSWER_LIMIT_MS);
    if (settled.state === "delivered") return;
    if (settled.state === "failed") {
      await outbox.cancel(local);
      throw new ApiError({ code: settled.code });
    }
    if (!mustArrive || this.#world.hasEnded()) return;
    // What is sealed may have been sent, and goes on being sent; only what is not can be taken back.
    await outbox.cancel(local);
    throw new ApiError({ code: "offline" });
  }
}

export function isFailedEdit(item: OutboxItem): boolean {
  return item.type === EntryType.edit && item.state === "failed";
}
