//! To whom a room's keys were sealed: whether all who must have one do, and who dropped out. A record states no more than
//! the hash of them; the server has the list.

import { ApiError, type Api } from "./api.ts";
import { namesRecipients } from "./chain/eligible.ts";
import { type EpochRecord } from "./chain/record.ts";
import { governing } from "./chain/rules.ts";
import { type RoomState } from "./chain/state.ts";
import { faultAt, type ChainFault, type ChainLink } from "./chain-links.ts";

/** So many records are checked at one time; of more, the oldest are passed over: who is still out lacks the newest key too. */
const CHECKED_AT_ONCE_MAX = 50;

export interface RecipientsWorld {
  readonly api: Pick<Api, "epochKeys">;
  readonly links: () => readonly ChainLink[];
  readonly report: (fault: ChainFault) => void;
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

  /** Records after epoch `checked` are checked; what came before was so when it was trusted. */
  constructor(room: string, checked: number, world: RecipientsWorld) {
    this.#room = room;
    this.#checked = checked;
    this.#world = world;
  }

  /** Checks the records that came since the last time. What cannot be had now is asked for the next time. Never rejects. */
  check(): Promise<void> {
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
          // Who may not ask is no member any more, and is told so in another way.
          if (!(error instanceof ApiError) || error.retry !== "never") return;
        }
        this.#checked = Math.max(this.#checked, stated.record.epoch);
      }
    }
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
    const listed = (await this.#world.api.epochKeys(this.#room, record.epoch)).recipients;
    const list = (await namesRecipients(record, listed)) ? new Set(listed) : undefined;
    const governs = await governing(record.state, header.device);
    const lacking = list === undefined || governs.some(({ device }) => !list.has(device));
    // Another call may have been faster.
    if (lacking && !this.#lists.has(hash)) this.#world.report(faultAt(link.entry, this.#recordsBefore(link)));
    this.#lists.set(hash, list);
    return list;
  }

  #recordsBefore({ entry }: ChainLink): readonly ChainLink[] {
    return this.#stated().flatMap(({ link }) => (link.entry.seq < entry.seq ? [link] : []));
  }
}

function recoveryDevices({ admins }: Pick<RoomState, "admins">): readonly string[] {
  return admins.flatMap(({ device, recovery }) => (recovery ? [device] : []));
}
