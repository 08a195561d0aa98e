//! Who is who in a room: signing keys by device, and the names devices had over time.

import { deviceId, type PublicKeys } from "./crypto/device.ts";
import { type Bytes } from "./bytes.ts";

interface Named {
  readonly seq: number;
  readonly name: string;
}

export class Directory {
  #keys = new Map<string, Bytes>();
  #names = new Map<string, Named[]>();
  #fetching = new Map<string, Promise<Bytes | undefined>>();
  readonly #fetch: (device: string) => Promise<PublicKeys | undefined>;

  /** `fetch` asks the server for a device's keys; what it answers is checked against the device id. */
  constructor(fetch: (device: string) => Promise<PublicKeys | undefined>) {
    this.#fetch = fetch;
  }

  /** Takes keys from anywhere. Returns whether they are the device's: its id is their hash. */
  async learnKeys(device: string, keys: PublicKeys): Promise<boolean> {
    if (this.#keys.has(device)) return true;
    if ((await deviceId(keys)) !== device) return false;
    this.#keys.set(device, keys.signKey);
    return true;
  }

  /** The device's signing key, asked for once if unknown; `undefined` when nobody has keys that fit its id. */
  signKey(device: string): Promise<Bytes | undefined> {
    const known = this.#keys.get(device);
    if (known !== undefined) return Promise.resolve(known);
    let fetching = this.#fetching.get(device);
    if (fetching === undefined) {
      fetching = this.#ask(device).finally(() => this.#fetching.delete(device));
      this.#fetching.set(device, fetching);
    }
    return fetching;
  }

  async #ask(device: string): Promise<Bytes | undefined> {
    const keys = await this.#fetch(device);
    if (keys === undefined || !(await this.learnKeys(device, keys))) return undefined;
    return this.#keys.get(device);
  }

  /** Notes that a verified profile at `seq` gave `device` this name. */
  learnName(device: string, seq: number, name: string): void {
    const names = this.#names.get(device) ?? [];
    if (names.some((known) => known.seq === seq)) return;
    names.push({ seq, name });
    names.sort((a, b) => a.seq - b.seq);
    this.#names.set(device, names);
  }

  /** The name `device` had at `seq`; the nearest known one when the profile before it is not loaded. */
  nameAt(device: string, seq: number): string | undefined {
    const names = this.#names.get(device);
    return (names?.findLast((known) => known.seq <= seq) ?? names?.[0])?.name;
  }

  /** The name `device` had before its profile at `seq`; `undefined` when that is not known. */
  nameBefore(device: string, seq: number): string | undefined {
    return this.#names.get(device)?.findLast((known) => known.seq < seq)?.name;
  }

  /** The newest known name of `device`. */
  newestName(device: string): string | undefined {
    return this.#names.get(device)?.at(-1)?.name;
  }

  /** All names of all devices, for finding those that look alike. */
  *everyName(): Iterable<[device: string, name: string]> {
    for (const [device, names] of this.#names) for (const { name } of names) yield [device, name];
  }

  /** Forgets the names, as when the log they came from turned out to be another one. Keys stay: they prove themselves. */
  forgetNames(): void {
    this.#names.clear();
  }
}
