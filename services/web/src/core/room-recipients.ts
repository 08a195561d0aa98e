//! To whom a room's keys were sealed: whether all who must have one do, and who dropped out. A record states no more than
//! the hash of them; the server has the list, and what was sealed to each.

import { ApiError, type Api } from "./api.ts";
import { b64, fromB64 } from "./base64url.ts";
import { type Bytes } from "./bytes.ts";
import { namesRecipients } from "./chain/eligible.ts";
import { type EpochRecord } from "./chain/record.ts";
import { governing } from "./chain/rules.ts";
import { type DeviceKeys, type RoomState } from "./chain/state.ts";
import { faultAt, type ChainFault, type ChainLink } from "./chain-links.ts";
import { sealRoomKey } from "./crypto/sealed-key.ts";
import { type EpochKeys, type ErrorCode } from "../protocol.gen.ts";

/** So many records are checked at one time; of more, the oldest are passed over: who is still out lacks the newest key too. */
const CHECKED_AT_ONCE_MAX = 50;
/** So often in a row a server that serves the room may fail to say whom a key was sealed to, and how long between: some minutes. */
const UNANSWERED_MAX = 10;
const AGAIN_FIRST_MS = 1_000;
const AGAIN_MAX_MS = 60_000;
/** What says that this device has no part in the room any more. That is told in another way, unless it is served all the same. */
const PARTED: ReadonlySet<ErrorCode | "offline"> = new Set<ErrorCode>([
  "not_a_member",
  "removed",
  "banned",
  "recovery_replaced",
  "room_deleted",
]);

export interface RecipientsWorld {
  readonly api: Pick<Api, "epochKeys">;
  readonly links: () => readonly ChainLink[];
  readonly report: (fault: ChainFault) => void;
  /** The raw key of an epoch whose record counts. */
  readonly key: (epoch: number) => Promise<Bytes | undefined>;
  /** Whether the server serves this room at present. */
  readonly followed: () => boolean;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}

interface Stated {
  readonly link: ChainLink;
  readonly record: EpochRecord;
}

export class RoomRecipients {
  readonly #room: string;
  readonly #world: RecipientsWorld;
  /** Lists that are those which the records name, by the record's hash; `undefined` where the server shows another. */
  readonly #lists = new Map<string, ReadonlySet<string> | undefined>();
  /** The newest epoch whose record was checked, or is not to be. */
  #checked: number;
  #checking: Promise<void> | undefined;
  #again = false;
  /** How often in a row the server did not answer though it served the room, and whether it is asked again only later. */
  #unanswered = 0;
  #waiting = false;

  /** Records after epoch `checked` are checked; what came before was so when it was trusted. */
  constructor(room: string, checked: number, world: RecipientsWorld) {
    this.#room = room;
    this.#checked = checked;
    this.#world = world;
  }

  /**
   * Checks the records that came since the last time. What cannot be had now is asked for again after a while; a server that
   * refuses it, or does not answer it for long while it serves the room, has something to hide. Never rejects.
   */
  check(): Promise<void> {
    if (this.#waiting) return Promise.resolve();
    this.#again = true;
    this.#checking ??= this.#checkAll().finally(() => (this.#checking = undefined));
    return this.#checking;
  }

  async #checkAll(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      const fresh = this.#stated().filter(({ record }) => record.epoch > this.#checked);
      for (const stated of fresh.slice(-CHECKED_AT_ONCE_MAX)) {
        try {
          await this.#recipients(stated);
        } catch (error) {
          if (!isRefusal(error) && !this.#isEnough()) return;
          this.#accuse(stated.link);
        }
        this.#unanswered = 0;
        this.#checked = Math.max(this.#checked, stated.record.epoch);
      }
    }
  }

  /** Notes one more time without an answer. Whether that is enough; else the server is asked again. */
  #isEnough(): boolean {
    if (this.#world.followed()) this.#unanswered++;
    if (this.#unanswered >= UNANSWERED_MAX) return true;
    this.#waiting = true;
    const again = () => {
      this.#waiting = false;
      // Else it is asked with the next connection.
      if (this.#world.followed()) void this.check();
    };
    this.#world.setTimeout(again, Math.min(AGAIN_FIRST_MS * 2 ** this.#unanswered, AGAIN_MAX_MS));
    return false;
  }

  /**
   * Who had the key before and did not get the one of the record at `seq`, besides those whom it removes and an old recovery
   * device: they left before it, or were put out by it. Nobody where that is not known: the first record names nobody, and
   * the server may show other lists than the records name. Rejects with `ApiError`.
   */
  async droppedOut(seq: number): Promise<readonly string[]> {
    const stated = this.#stated();
    const at = stated.findIndex(({ link }) => link.entry.seq === seq);
    const [before, now] = [stated[at - 1], stated[at]];
    if (before === undefined || now === undefined) return [];
    const [had, got] = [await this.#recipients(before), await this.#recipients(now)];
    if (had === undefined || got === undefined) return [];
    const { cause, state } = now.record;
    const removed = new Set(cause.type === "remove" ? cause.devices : []);
    // One in the place of which another recovery device has come was not put out of the room.
    const recovery = new Set(recoveryDevices(state));
    const replaced = new Set(recoveryDevices(before.record.state).filter((device) => !recovery.has(device)));
    return [...had].filter((device) => !got.has(device) && !removed.has(device) && !replaced.has(device));
  }

  /** The records that count, oldest first. */
  #stated(): readonly Stated[] {
    return this.#world.links().flatMap((link) => {
      const { content } = link.entry;
      return link.counts && content.kind === "epoch_record" ? [{ link, record: content.record }] : [];
    });
  }

  async #recipients({ link, record }: Stated): Promise<ReadonlySet<string> | undefined> {
    const { hash, header } = link.entry;
    if (record.recipients === undefined || header === undefined) return undefined;
    if (this.#lists.has(hash)) return this.#lists.get(hash);
    const governs = await governing(record.state, header.device);
    const of = governs.map(({ device }) => device);
    const answer = await this.#world.api.epochKeys(this.#room, record.epoch, of);
    const list = (await namesRecipients(record, answer.recipients)) ? new Set(answer.recipients) : undefined;
    const lacking = list === undefined || of.some((device) => !list.has(device));
    const wronged = lacking || !(await this.#isSealedTo(governs, record.epoch, answer));
    // Another call may have been faster.
    if (wronged && !this.#lists.has(hash)) this.#accuse(link);
    this.#lists.set(hash, list);
    return list;
  }

  /** Whether what was sealed to these is the epoch's key: there is one way to seal it. */
  async #isSealedTo(governs: readonly DeviceKeys[], epoch: number, { seals }: EpochKeys): Promise<boolean> {
    const key = await this.#world.key(epoch);
    if (key === undefined) return true;
    const room = fromB64(this.#room, 16);
    const shown = new Map(seals.map(({ device, key: sealed }) => [device, sealed]));
    const right = await Promise.all(
      governs.map(async (to) => b64(await sealRoomKey(to, room, epoch, key)) === shown.get(to.device)),
    );
    return right.every(Boolean);
  }

  #accuse(link: ChainLink): void {
    this.#world.report(faultAt(link.entry, this.#recordsBefore(link)));
  }

  #recordsBefore({ entry }: ChainLink): readonly ChainLink[] {
    return this.#stated().flatMap(({ link }) => (link.entry.seq < entry.seq ? [link] : []));
  }
}

/** Whether a server that serves the room says by this that it will never show whom a key was sealed to. */
function isRefusal(error: unknown): boolean {
  return error instanceof ApiError && error.retry === "never" && !PARTED.has(error.code);
}

function recoveryDevices({ admins }: Pick<RoomState, "admins">): readonly string[] {
  return admins.flatMap(({ device, recovery }) => (recovery ? [device] : []));
}
