//! The devices, keys and fixed bytes that the vectors are made of.

import { utf8, type Bytes } from "../bytes.ts";
import { deviceFromSeeds, type Device } from "../crypto/device.ts";
import { sha256 } from "../crypto/primitives.ts";

/** What all vectors are made in and by. */
export interface Scene {
  readonly room: Bytes;
  readonly device: Device;
  readonly recovery: Device;
  /** The key of epoch 0. */
  readonly roomKey: Bytes;
  readonly sentAtMs: number;
}

/** 32 bytes that are the same in every run. */
export function fixed(label: string): Promise<Bytes> {
  return sha256(utf8(`snug/web-v1 ${label}`));
}

export async function fixedId(label: string): Promise<Bytes> {
  return (await fixed(label)).slice(0, 16);
}

export async function person(name: string): Promise<Device> {
  return deviceFromSeeds(await fixed(`${name} sign`), await fixed(`${name} agree`));
}

export function keyOf(scene: Scene, epoch: number): Promise<Bytes> {
  return epoch === 0 ? Promise.resolve(scene.roomKey) : fixed(`room key ${epoch}`);
}

export async function previousIv(epoch: number): Promise<Bytes> {
  return (await fixed(`previous key iv ${epoch}`)).slice(0, 12);
}
