//! Which of an outbox's drafts is sealed next.

import { EntryType } from "./crypto/envelope.ts";
import { outboxDraft } from "./outbox-items.ts";
import { type OutboxWorld } from "./outbox-world.ts";
import { type OutboxRow } from "./store.ts";

export type DraftsWorld = Pick<OutboxWorld, "store" | "introduction" | "introducesItself" | "messagesFromMs" | "now">;

export class OutboxDrafts {
  readonly #room: string;
  readonly #world: DraftsWorld;
  /** Slow mode refused a message: the next one is not tried before. */
  #messagesFromMs = 0;

  constructor(room: string, world: DraftsWorld) {
    this.#room = room;
    this.#world = world;
  }

  /** Holds messages back for so long at least. */
  hold(ms: number): void {
    this.#messagesFromMs = this.#world.now() + ms;
  }

  /** For how long slow mode holds messages back, while all else goes on; 0 when it does not. */
  get heldMs(): number {
    const { now, messagesFromMs } = this.#world;
    return Math.max(0, Math.max(this.#messagesFromMs, messagesFromMs() ?? 0) - now());
  }

  /** The oldest draft that may be sent now, or the introduction that must come before it. `held`: only messages wait. */
  async next(rows: readonly OutboxRow[]): Promise<OutboxRow | "held" | undefined> {
    const drafts = rows.filter(({ state }) => state === "draft");
    const held = this.heldMs > 0;
    const oldest = drafts.find(({ type }) => !held || type !== EntryType.message);
    if (oldest?.type === EntryType.profile) return oldest;
    const nothing = drafts.length > 0 ? "held" : undefined;
    if (oldest === undefined && !this.#world.introducesItself()) return nothing;
    const body = await this.#world.introduction();
    if (body === undefined) return oldest ?? nothing;
    const waiting = drafts.find(({ type }) => type === EntryType.profile);
    if (waiting !== undefined) return waiting;
    const row = await outboxDraft(this.#world.store, this.#room, { type: EntryType.profile, body }, this.#world.now());
    await this.#world.store.addToOutbox(row);
    return row;
  }
}
