//! Who governed when: the admins after each chain entry that changed them.

import { type Admin } from "./state.ts";

/** Changes that are remembered; the oldest are forgotten first, and what was deleted before them cannot be judged. */
const CHANGES_MAX = 1_000;

interface Reign {
  /** After the entry at this place. */
  readonly seq: number;
  readonly admins: readonly Admin[];
}

export class Reigns {
  #all: Reign[];

  constructor(seq: number, admins: readonly Admin[]) {
    this.#all = [{ seq, admins }];
  }

  /** The entry at `seq` made these govern. */
  begin(seq: number, admins: readonly Admin[]): void {
    this.#all = [...this.#all, { seq, admins }].slice(-CHANGES_MAX);
  }

  /** Who governed when the entry at `seq` was made: after all before it. `undefined` where that is not known. */
  at(seq: number): readonly Admin[] | undefined {
    return this.#all.findLast((reign) => reign.seq < seq)?.admins;
  }

  /** Whether it owned the room at any time that is known. */
  hasOwned(device: string): boolean {
    return this.#all.some(({ admins }) => admins.some((admin) => admin.device === device && admin.role === "owner"));
  }

  /** These with `older` before them; `from` is where these began. Where some of these have been forgotten, older ones would seem to last. */
  after(older: Reigns, from: number): Reigns {
    if (this.#all[0]?.seq !== from) return this;
    const joined = new Reigns(0, []);
    joined.#all = [...older.#all.filter(({ seq }) => seq < from), ...this.#all].slice(-CHANGES_MAX);
    return joined;
  }
}
