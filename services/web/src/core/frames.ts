//! Frames of the socket: reading what a server sends, writing what it is sent.

import { b64, fromB64 } from "./base64url.ts";
import { concat, copy, Reader, u32, type Bytes } from "./bytes.ts";
import { HEADER_BYTES } from "./crypto/envelope.ts";
import { type ClientFrame, type ServerFrame } from "../protocol.gen.ts";

/** An entry as a server delivers it, on the socket or in a log page. */
export interface RawEntry {
  readonly seq: number;
  /** The server's time of commit, Unix milliseconds. */
  readonly atMs: number;
  /** The whole envelope; of a tombstone the header alone. */
  readonly envelope: Bytes;
  /** Of a tombstone: the hash of the envelope that was erased. */
  readonly erased?: Bytes;
}

const ENTRY = 1;
const TOMBSTONE = 2;
const SEND = 1;

/** The server sent something that is not a frame of this protocol. */
export class BadFrame extends Error {}

/** Reads a binary frame: an entry or a tombstone. Throws `BadFrame`. */
export function parseEntryFrame(frame: Uint8Array): RawEntry {
  try {
    const reader = new Reader(frame);
    const kind = reader.u8();
    const [seq, atMs] = [reader.u64(), reader.u64()];
    if (kind === ENTRY) return { seq, atMs, envelope: reader.rest() };
    if (kind !== TOMBSTONE) throw new BadFrame("an unknown kind of entry");
    const envelope = reader.take(HEADER_BYTES);
    return { seq, atMs, envelope, erased: reader.take(32) };
  } catch {
    throw new BadFrame("not an entry frame");
  }
}

/** The room id in an entry's envelope header, as base64url, whatever else is wrong with the envelope. */
export function roomOfEnvelope(envelope: Uint8Array): string {
  return b64(envelope.subarray(8, 24));
}

/** Writes a send frame; `id` comes back in the answer and is below 2^32. */
export function sendFrame(id: number, envelope: Bytes): Bytes {
  return concat(Uint8Array.of(SEND), u32(id), envelope);
}

export function clientFrame(frame: ClientFrame): string {
  return JSON.stringify(frame);
}

type Fields = Record<string, unknown>;

/** What each frame must have, so that the rest of the client can trust its type. Fields beyond these are ignored. */
const SHAPES: { readonly [Type in ServerFrame["type"]]: (frame: Fields) => boolean } = {
  welcome: (f) => isId(f["device"]) && isNumber(f["server_at_ms"]) && isNumber(f["heartbeat_ms"]),
  followed: (f) =>
    isNumber(f["id"]) &&
    isId(f["room"]) &&
    isId(f["history"]) &&
    isNumber(f["head"]) &&
    isNumber(f["from"]) &&
    typeof f["skipped"] === "boolean" &&
    typeof f["role"] === "string" &&
    isNumber(f["chain"]) &&
    Array.isArray(f["here"]) &&
    f["here"].every(isId) &&
    isNumber(f["here_count"]),
  sent: (f) => isNumber(f["id"]) && isId(f["room"]) && isNumber(f["seq"]) && isNumber(f["at_ms"]),
  error: (f) => typeof f["code"] === "string" && typeof f["retry"] === "string",
  presence: (f) => isId(f["room"]) && isId(f["device"]) && isText(f["state"]) && isNumber(f["here_count"]),
  here: (f) =>
    isId(f["room"]) &&
    (f["here"] === undefined || (Array.isArray(f["here"]) && f["here"].every(isId))) &&
    isNumber(f["here_count"]),
  typing: (f) => isId(f["room"]) && isId(f["device"]),
  typing_count: (f) => isId(f["room"]) && isNumber(f["count"]),
  heartbeat: (f) =>
    Array.isArray(f["heads"]) && f["heads"].every((h: Fields) => isId(h["room"]) && isNumber(h["head"])),
  room_closed: (f) => isId(f["room"]) && isText(f["code"]),
  move: (f) => isNumber(f["within_ms"]),
};

/** Reads a text frame; `undefined` for a type this version does not know. Throws `BadFrame` on anything malformed. */
export function parseServerFrame(text: string): ServerFrame | undefined {
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    throw new BadFrame("not JSON");
  }
  if (typeof frame !== "object" || frame === null || !("type" in frame)) throw new BadFrame("not a frame");
  const { type } = frame;
  if (typeof type !== "string") throw new BadFrame("not a frame");
  if (!Object.hasOwn(SHAPES, type)) return undefined;
  if (!SHAPES[type as ServerFrame["type"]](frame as Fields)) throw new BadFrame(`a malformed ${type}`);
  return frame as ServerFrame;
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** 16 bytes in base64url. */
function isId(value: unknown): value is string {
  if (typeof value !== "string" || value.length !== 22) return false;
  try {
    fromB64(value, 16);
    return true;
  } catch {
    return false;
  }
}

/** Splits a log page (`application/vnd.snug.log`) into its head (JSON text) and its entries. Throws `BadFrame`. */
export function splitLogPage(page: Uint8Array): { head: unknown; entries: RawEntry[] } {
  const records: Bytes[] = [];
  const reader = new Reader(page);
  try {
    while (reader.left > 0) records.push(reader.take(reader.u32()));
  } catch {
    throw new BadFrame("a truncated log page");
  }
  const [first, ...frames] = records;
  if (first === undefined) throw new BadFrame("an empty log page");
  try {
    const head: unknown = JSON.parse(new TextDecoder().decode(first));
    return { head, entries: frames.map((frame) => parseEntryFrame(copy(frame))) };
  } catch {
    throw new BadFrame("not a log page");
  }
}
