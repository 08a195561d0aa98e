//! What is being written in one room: kept in the store at its own pace, and shared by what takes the room up anew.

import { type RoomRecord, type Store } from "./store.ts";

const KEEP_PERIOD_MS = 500;

/** What a draft needs of its surroundings. */
export interface DraftWorld {
  readonly store: Pick<Store, "changeRoom" | "sealText" | "openText">;
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}

export class RoomDraft {
  /** What is in the composer. */
  text = "";
  readonly #room: string;
  readonly #life: string;
  readonly #world: DraftWorld;
  readonly #stored: RoomRecord["draft"];
  #opening: Promise<void> | undefined;
  #written = false;
  #due = false;

  constructor({ room, life, draft }: RoomRecord, world: DraftWorld) {
    this.#room = room;
    this.#life = life;
    this.#stored = draft;
    this.#world = world;
  }

  /** Whether it is of this room, and not of one that was forgotten and entered anew. */
  isOf({ room, life }: RoomRecord): boolean {
    return room === this.#room && life === this.#life;
  }

  /** Whether this page has written it; otherwise it is what was stored. */
  get written(): boolean {
    return this.#written;
  }

  /** Opens the one of the last visit. What has been typed in the meantime takes its place. */
  open(): Promise<void> {
    this.#opening ??= this.#open();
    return this.#opening;
  }

  async #open(): Promise<void> {
    if (this.#stored === undefined) return;
    const text = await this.#world.store.openText(`draft ${this.#room}`, this.#stored);
    if (!this.#written) this.text = text ?? "";
  }

  /** Takes its place, and is stored before long. */
  save(text: string): void {
    this.text = text;
    this.#written = true;
    if (this.#due) return;
    this.#due = true;
    this.#world.setTimeout(() => this.flush(), KEEP_PERIOD_MS);
  }

  /** Stores what is not stored yet. */
  flush(): void {
    if (!this.#due) return;
    this.#due = false;
    void this.#keep().catch(() => undefined);
  }

  async #keep(): Promise<void> {
    const { text } = this;
    const draft = text === "" ? undefined : await this.#world.store.sealText(`draft ${this.#room}`, text);
    await this.#world.store.changeRoom(this.#room, (record) => {
      // What was written while this was sealed is stored by itself, perhaps already.
      if (!this.isOf(record) || this.text !== text) return record;
      const { draft: _old, ...kept } = record;
      return { ...kept, ...(draft && { draft }) };
    });
  }
}
