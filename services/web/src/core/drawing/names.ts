//! How a room's members are called, now and at each place of its log, and which names could be taken for one another.

import { fingerprint } from "../crypto/device.ts";
import { type Directory } from "../directory.ts";
import { likeness } from "../names.ts";

/** Likenesses remembered, so that a redraw does not work them out again. */
const LIKENESSES_MAX = 5_000;

export class Names {
  readonly #directory: Directory;
  /** Every name each device has or had, oldest first. */
  #names = new Map<string, string[]>();
  /** Devices by the likeness of each name they have or had. */
  #alike = new Map<string, Set<string>>();
  #stale = true;
  readonly #likenesses = new Map<string, string>();

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  /** Names may have been learned. Call before a series of questions. */
  refresh(): void {
    this.#stale = true;
  }

  /** Reads all names, once something is asked that takes all of them. */
  #gather(): void {
    if (!this.#stale) return;
    this.#stale = false;
    this.#names = new Map();
    this.#alike = new Map();
    for (const [device, name] of this.#directory.everyName()) {
      const names = this.#names.get(device);
      if (names === undefined) this.#names.set(device, [name]);
      else names.push(name);
      const like = this.#likenessOf(name);
      const devices = this.#alike.get(like) ?? new Set();
      this.#alike.set(like, devices.add(device));
    }
  }

  /** What `device` is called now, or was when it left; its fingerprint while no name is known. */
  newest(device: string): string {
    return this.#directory.newestName(device) ?? fingerprint(device);
  }

  /** What `device` was called at `seq`. */
  at(device: string, seq: number): string {
    return this.#directory.nameAt(device, seq) ?? fingerprint(device);
  }

  /** What `device` was called before its profile at `seq`; `undefined` when that is not known. */
  before(device: string, seq: number): string | undefined {
    return this.#directory.nameBefore(device, seq);
  }

  /** Every name `device` has or had, the newest first. */
  all(device: string): readonly string[] {
    this.#gather();
    return this.#names.get(device)?.toReversed() ?? [];
  }

  /** Whether another device has or had this name, or one that looks like it. */
  isShared(device: string, name: string): boolean {
    this.#gather();
    const devices = this.#alike.get(this.#likenessOf(name));
    return devices !== undefined && (devices.size > 1 || !devices.has(device));
  }

  /** What tells `device` from others that are called like it; null where there are none. */
  mark(device: string, name: string): string | null {
    return this.isShared(device, name) ? fingerprint(device) : null;
  }

  #likenessOf(name: string): string {
    let like = this.#likenesses.get(name);
    if (like === undefined) {
      if (this.#likenesses.size >= LIKENESSES_MAX) this.#likenesses.clear();
      like = likeness(name);
      this.#likenesses.set(name, like);
    }
    return like;
  }
}
