//! Reading the fields of a sealed JSON body. Each reader throws `TypeError` or `RangeError` on what is not well formed.

import { fromB64 } from "../base64url.ts";

/** A JSON object's fields, of which nothing is known yet. */
export type Fields = Readonly<Record<string, unknown>>;

const DEVICE_BYTES = 16;

/** Reads a JSON object; unknown fields are ignored later. */
export function fieldsOf(json: unknown): Fields {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new TypeError("not an object");
  return json as Fields;
}

export function textField(fields: Fields, name: string): string {
  const value = fields[name];
  // Lone surrogates can be written in JSON but are no text: they have no UTF-8, and the SDK's reader refuses them.
  if (typeof value !== "string" || /\p{Cs}/u.test(value)) throw new TypeError(`${name} is not a text`);
  return value;
}

export function boolField(fields: Fields, name: string): boolean {
  const value = fields[name];
  if (typeof value !== "boolean") throw new TypeError(`${name} is not a truth value`);
  return value;
}

/** A whole number from `min` to `max`. */
export function wholeField(fields: Fields, name: string, min: number, max: number = Number.MAX_SAFE_INTEGER): number {
  const value = fields[name];
  if (!Number.isSafeInteger(value)) throw new TypeError(`${name} is not a whole number`);
  if ((value as number) < min || (value as number) > max) throw new RangeError(`${name} is out of bounds`);
  return value as number;
}

/** base64url of exactly `length` bytes. It stays text: each byte string has one, so that texts can be compared. */
export function bytesField(fields: Fields, name: string, length: number): string {
  const value = textField(fields, name);
  fromB64(value, length);
  return value;
}

/** As `bytesField`; `undefined` where the field is null. */
export function nullableBytes(fields: Fields, name: string, length: number): string | undefined {
  return fields[name] === null ? undefined : bytesField(fields, name, length);
}

export function deviceField(fields: Fields, name: string): string {
  return bytesField(fields, name, DEVICE_BYTES);
}

/** A list of at most `max` items. */
export function listField(fields: Fields, name: string, max: number): readonly unknown[] {
  const value = fields[name];
  if (!Array.isArray(value)) throw new TypeError(`${name} is not a list`);
  if (value.length > max) throw new RangeError(`${name} is too long`);
  return value as unknown[];
}

/** A list of at most `max` device ids, in any order. */
export function devicesField(fields: Fields, name: string, max: number): string[] {
  return listField(fields, name, max).map((device) => deviceField({ [name]: device }, name));
}
