//! How this device introduces itself: once in each epoch, before anything else that it says there.

import { profileBody } from "./bodies.ts";
import { type Device, fingerprint } from "./crypto/device.ts";
import { type Directory } from "./directory.ts";
import { type RoomRecord, type Store } from "./store.ts";

export interface IntroductionWorld {
  readonly device: Device;
  readonly store: Pick<Store, "setting">;
  readonly directory: Directory;
  readonly record: () => RoomRecord;
  readonly change: (change: (record: RoomRecord) => RoomRecord) => void;
}

/** In a room with more members than this one introduces oneself only before one speaks. */
const MEMBERS_MAX = 100;

export class RoomIntroduction {
  readonly #world: IntroductionWorld;

  constructor(world: IntroductionWorld) {
    this.#world = world;
  }

  /** Whether a profile has been sealed under `epoch` or a later one. */
  isMade(epoch: number): boolean {
    return (this.#world.record().introduced ?? -1) >= epoch;
  }

  /**
   * Whether it is to be made although nothing else is said: who comes after the history was closed, from the epoch
   * `historyFrom` on, cannot open an older one and would see everybody as letters of a device.
   */
  isDue(historyFrom: number, members: number): boolean {
    return historyFrom > 0 && members <= MEMBERS_MAX && !this.isMade(historyFrom);
  }

  /** The profile to be sealed first under `epoch`; `undefined` when there has been one. */
  async body(epoch: number): Promise<string | undefined> {
    if (this.isMade(epoch)) return undefined;
    const { device, directory, store } = this.#world;
    const name = directory.newestName(device.id) ?? (await store.setting("my-name"));
    return profileBody(name === undefined || name === "" ? fingerprint(device.id) : name, false, device);
  }

  /** A profile is sealed under `epoch`, and stored. */
  made(epoch: number): void {
    if (!this.isMade(epoch)) this.#world.change((record) => ({ ...record, introduced: epoch }));
  }

  /** The log that this device had introduced itself in is gone. */
  forget(): void {
    this.#world.change(({ introduced: _introduced, ...record }) => record);
  }
}
