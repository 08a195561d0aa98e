//! From what a server delivers to log entries: decrypt, read the body, verify the signature.

import { b64, fromB64 } from "./base64url.ts";
import { type Bytes } from "./bytes.ts";
import { parseBody, type Body } from "./bodies.ts";
import { type EpochRecord } from "./chain/record.ts";
import { type DeviceKeys } from "./chain/state.ts";
import {
  envelopeHash,
  openEnvelope,
  readHeader,
  streamKey,
  Unreadable,
  verifyOpened,
  type Header,
  type Opened,
} from "./crypto/envelope.ts";
import { type PublicKeys } from "./crypto/device.ts";
import { commitsTo, signingAdmin } from "./crypto/epoch-record.ts";
import { type Directory } from "./directory.ts";
import { type RawEntry } from "./frames.ts";
import { type LogEntry } from "./log-entry.ts";

/** Stream keys kept, so that a page of one sender's messages derives one key. */
const STREAM_KEYS_MAX = 500;
/** Epochs without a key that are remembered. */
const LACKED_MAX = 1_000;

/** Opens the entries of one room. */
export class EntryOpener {
  readonly #room: string;
  readonly #roomKey: (epoch: number) => CryptoKey | undefined;
  readonly #directory: Directory;
  readonly #prepare: ((headers: readonly Header[]) => Promise<void>) | undefined;
  #streamKeys = new Map<string, Promise<CryptoKey>>();
  readonly #lacked = new Set<number>();

  /** `prepare`, if given, is awaited before entries with these headers are opened, and gets their keys if it can. */
  constructor(
    room: string,
    roomKey: (epoch: number) => CryptoKey | undefined,
    directory: Directory,
    prepare?: (headers: readonly Header[]) => Promise<void>,
  ) {
    this.#room = room;
    this.#roomKey = roomKey;
    this.#directory = directory;
    this.#prepare = prepare;
  }

  /** Epochs of entries that stayed unreadable since their key was not there; the first ones of very many. */
  get lacked(): ReadonlySet<number> {
    return this.#lacked;
  }

  /** Opens entries of one page or batch. Never rejects for what is in them: what cannot be read is `unreadable`. */
  async openAll(raws: readonly RawEntry[]): Promise<LogEntry[]> {
    await this.#prepare?.(headersOf(raws));
    const begun = await Promise.all(raws.map((raw) => this.#begin(raw)));
    // Keys first, wherever in the batch they are: they prove themselves by the device id.
    for (const { opened, body } of begun) {
      for (const [device, keys] of keysIn(opened, body)) await this.#directory.learnKeys(device, keys);
    }
    const entries = await Promise.all(begun.map((one) => this.#finish(one)));
    for (const entry of entries) {
      if (entry.content.kind === "profile" && entry.header !== undefined) {
        this.#directory.learnName(entry.header.device, entry.seq, entry.content.name);
      }
    }
    return entries;
  }

  async #begin(raw: RawEntry): Promise<Begun> {
    const hash = b64(raw.erased ?? (await envelopeHash(raw.envelope)));
    try {
      const header = readHeader(raw.envelope);
      if (header.room !== this.#room) return { raw, hash };
      if (raw.erased !== undefined) return { raw, hash, header };
      try {
        const opened = await openEnvelope(raw.envelope, (of, bytes) => this.#streamKey(of, bytes));
        return { raw, hash, header, opened, body: await parseBody(header.type, opened.body) };
      } catch {
        return { raw, hash, header };
      }
    } catch {
      return { raw, hash };
    }
  }

  async #finish({ raw, hash, header, opened, body }: Begun): Promise<LogEntry> {
    const { seq, atMs, envelope } = raw;
    const plain = { seq, hash, atMs, envelope };
    if (header === undefined) return { ...plain, content: { kind: "unreadable" } };
    const { room: _room, ...placed } = header;
    const known = { ...plain, header: placed };
    if (raw.erased !== undefined) return { ...known, content: { kind: "erased" } };
    if (opened === undefined || body === undefined || !(await this.#verify(opened, body))) {
      return { ...known, content: { kind: "unreadable" } };
    }
    const prev = { seq: opened.prev.seq, hash: b64(opened.prev.hash) };
    return { ...known, prev, sentAtMs: opened.sentAtMs, content: body };
  }

  async #verify(opened: Opened, body: Body): Promise<boolean> {
    if (body.kind === "epoch_record") return this.#verifyRecord(opened, body.record);
    const signKey = await this.#directory.signKey(opened.header.device);
    return signKey !== undefined && (await verifyOpened(opened, signKey));
  }

  /** Who signed it, and whether it is of the very key that it is sealed under. */
  async #verifyRecord(opened: Opened, record: EpochRecord): Promise<boolean> {
    const { epoch } = opened.header;
    const key = this.#roomKey(epoch);
    const commits = key !== undefined && (await commitsTo(record, key, fromB64(this.#room, 16), epoch));
    return commits && (await signingAdmin(opened, record)) !== undefined;
  }

  #streamKey(header: Header, bytes: Bytes): Promise<CryptoKey> {
    const roomKey = this.#roomKey(header.epoch);
    if (roomKey === undefined) {
      if (this.#lacked.size < LACKED_MAX) this.#lacked.add(header.epoch);
      throw new Unreadable();
    }
    const name = `${header.epoch} ${header.device} ${header.instance}`;
    let key = this.#streamKeys.get(name);
    if (key === undefined) {
      if (this.#streamKeys.size >= STREAM_KEYS_MAX) this.#streamKeys.clear();
      key = streamKey(roomKey, bytes);
      this.#streamKeys.set(name, key);
    }
    return key;
  }
}

/** An entry on its way: what could be read of it so far. */
interface Begun {
  raw: RawEntry;
  hash: string;
  header?: Header;
  opened?: Opened;
  body?: Body;
}

/** The headers of the entries that have one and are not erased. */
function headersOf(raws: readonly RawEntry[]): Header[] {
  const headers: Header[] = [];
  for (const { envelope, erased } of raws) {
    if (erased !== undefined) continue;
    try {
      headers.push(readHeader(envelope));
    } catch {
      // Without one it will be unreadable.
    }
  }
  return headers;
}

/** Devices with the keys that an entry names. Recovery devices are found nowhere else. */
function keysIn(opened: Opened | undefined, body: Body | undefined): [device: string, keys: PublicKeys][] {
  if (opened === undefined) return [];
  switch (body?.kind) {
    case "profile":
      return [[opened.header.device, body.keys]];
    case "epoch_record":
      return body.record.state.admins.map((admin) => [admin.device, keysOf(admin)]);
    case "step":
      return "signKey" in body.step ? [[body.step.device, keysOf(body.step)]] : [];
    default:
      return [];
  }
}

function keysOf({ signKey, agreeKey }: DeviceKeys): PublicKeys {
  return { signKey: fromB64(signKey, 32), agreeKey: fromB64(agreeKey, 32) };
}
