//! From what a server delivers to log entries: decrypt, read the body, verify the signature.

import { b64 } from "./base64url.ts";
import { type Bytes } from "./bytes.ts";
import { parseBody, type Body } from "./bodies.ts";
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
import { signingAdmin } from "./crypto/epoch-record.ts";
import { type Directory } from "./directory.ts";
import { type RawEntry } from "./frames.ts";
import { type Content, type LogEntry } from "./room-log.ts";

/** Stream keys kept, so that a page of one sender's messages derives one key. */
const STREAM_KEYS_MAX = 500;

/** Opens the entries of one room. */
export class EntryOpener {
  readonly #room: string;
  readonly #roomKey: (epoch: number) => CryptoKey | undefined;
  readonly #directory: Directory;
  #streamKeys = new Map<string, Promise<CryptoKey>>();

  constructor(room: string, roomKey: (epoch: number) => CryptoKey | undefined, directory: Directory) {
    this.#room = room;
    this.#roomKey = roomKey;
    this.#directory = directory;
  }

  /** Opens entries of one page or batch. Never rejects for what is in them: what cannot be read is `unreadable`. */
  async openAll(raws: readonly RawEntry[]): Promise<LogEntry[]> {
    const begun = await Promise.all(raws.map((raw) => this.#begin(raw)));
    // Keys first, wherever in the batch they are: they prove themselves by the device id.
    for (const { opened, body } of begun) {
      if (body?.kind === "profile" && opened !== undefined) {
        await this.#directory.learnKeys(opened.header.device, body.keys);
      }
    }
    const entries = await Promise.all(begun.map((one) => this.#finish(one)));
    for (const entry of entries) {
      if (entry.content.kind === "profile" && entry.stream !== undefined) {
        this.#directory.learnName(entry.stream.device, entry.seq, entry.content.name);
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
    const { device, instance, counter } = header;
    const placed = { ...plain, stream: { device, instance, counter } };
    if (raw.erased !== undefined) return { ...placed, content: { kind: "erased" } };
    if (opened === undefined || body === undefined || !(await this.#verify(opened, body))) {
      return { ...placed, content: { kind: "unreadable" } };
    }
    const prev = { seq: opened.prev.seq, hash: b64(opened.prev.hash) };
    return { ...placed, prev, content: contentOf(body) };
  }

  async #verify(opened: Opened, body: Body): Promise<boolean> {
    if (body.kind === "epoch_record") return (await signingAdmin(opened, body.record)) !== undefined;
    const signKey = await this.#directory.signKey(opened.header.device);
    return signKey !== undefined && (await verifyOpened(opened, signKey));
  }

  #streamKey(header: Header, bytes: Bytes): Promise<CryptoKey> {
    const roomKey = this.#roomKey(header.epoch);
    if (roomKey === undefined) throw new Unreadable();
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

function contentOf(body: Body): Content {
  switch (body.kind) {
    case "epoch_record":
      return { kind: "epoch_record" };
    case "profile":
      return { kind: "profile", name: body.name, joined: body.joined };
    case "message":
      return { kind: "message", text: body.text };
    case "leave":
      return body;
    case "edit":
    case "deletion":
    case "reaction":
    case "step":
    case "pin":
      return { kind: "unreadable" };
  }
}
