//! The instance that an outbox seals under, with its next counter. A page load begins a new one.

import { b64 } from "./base64url.ts";
import { random, type Bytes } from "./bytes.ts";
import { EntryType } from "./crypto/envelope.ts";
import { type OutboxWorld } from "./outbox-world.ts";
import { type OutboxRow } from "./store.ts";

export type InstanceWorld = Pick<OutboxWorld, "store" | "seal" | "introduced">;

/**
 * What became of sealing a draft. `later`: it cannot be sealed now; `ended`: the instance ended meanwhile, which has set free
 * what was written before this draft; `unreadable`: the local key that the draft was kept under is gone.
 */
export type Sealing = "sealed" | "later" | "ended" | "unreadable";

export class OutboxInstance {
  readonly #room: string;
  readonly #world: InstanceWorld;
  #bytes: Bytes = random(16);
  #counter = 0;

  constructor(room: string, world: InstanceWorld) {
    this.#room = room;
    this.#world = world;
  }

  get name(): string {
    return b64(this.#bytes);
  }

  /** Ends the instance: what is sealed from now is of another one. */
  renew(): void {
    this.#bytes = random(16);
    this.#counter = 0;
  }

  /** Seals a draft under the instance `name` and stores the bytes. Only then may they be sent. */
  async seal(draft: OutboxRow, name: string): Promise<Sealing> {
    const { store, seal, introduced } = this.#world;
    const body = await store.openText(`outbox ${draft.local}`, draft.body);
    if (body === undefined) return "unreadable";
    if (this.name !== name) return "ended";
    const [instance, counter] = [this.#bytes, this.#counter];
    const made = await seal({ type: draft.type, target: draft.target, body, instance, counter });
    if (this.name !== name) return "ended";
    if (made === undefined) return "later";
    this.#counter++;
    let stored = false;
    const sealed = { instance: name, counter, envelope: made.envelope, hash: made.hash };
    await store.changeOutbox(this.#room, (row) => {
      if (row.local !== draft.local || row.state !== "draft") return row;
      stored = true;
      return { ...row, state: "sealed", sealed };
    });
    // Cancelled at the last moment: the counter is used up and was never sent, so the instance ends here.
    if (!stored) this.renew();
    else if (draft.type === EntryType.profile) introduced(made.epoch);
    return "sealed";
  }
}
