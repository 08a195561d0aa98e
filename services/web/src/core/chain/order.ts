//! The order of device ids: that of their bytes, which is not the order of their base64url texts.

import { fromB64 } from "../base64url.ts";

/** Compares two device ids by their bytes: negative, zero or positive. */
export function byDevice(a: string, b: string): number {
  if (a === b) return 0;
  const [left, right] = [fromB64(a), fromB64(b)];
  for (const [at, byte] of left.entries()) {
    const other = right[at] ?? -1;
    if (byte !== other) return byte - other;
  }
  return left.length - right.length;
}

/** Each of `devices` once, in order. */
export function sortedDevices(devices: Iterable<string>): string[] {
  return [...new Set(devices)].sort(byDevice);
}

/** Throws `TypeError` unless `devices` go up, each once. */
export function demandOrder(devices: readonly string[]): void {
  for (let at = 1; at < devices.length; at++) {
    if (byDevice(devices[at - 1] ?? "", devices[at] ?? "") >= 0) throw new TypeError("devices are out of order");
  }
}
