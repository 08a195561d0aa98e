//! What this browser keeps, in IndexedDB: its device, its rooms with their keys, and the outbox. Texts lie there only
//! sealed under a non-extractable local key; raw keys and passwords never do.

import { openDB, type DBSchema, type IDBPDatabase } from "idb";

import { fromUtf8, utf8, type Bytes } from "./bytes.ts";
import { generateDevice, type Device } from "./crypto/device.ts";
import { generateLocalKey, openLocally, sealLocally, type Sealed } from "./crypto/primitives.ts";
import { type RoomKey } from "./crypto/room-key.ts";
import { type Cursor, type ErrorCode, type Role } from "../protocol.gen.ts";

/** Why a room cannot be entered any more. */
export type RoomEnd = "deleted" | "not_a_member" | "removed" | "banned";

/** A room as it is remembered here. */
export interface RoomRecord {
  readonly room: string;
  /** Drawn when the room was entered, and anew when it was forgotten and entered again: what is known of one is not of the other. */
  readonly life: string;
  readonly name: string;
  readonly role: Role;
  /** One for each epoch. */
  readonly keys: readonly RoomKey[];
  /** The newest epoch record seen, by its envelope hash: nothing is sent under a lower one. */
  readonly pinned: { readonly epoch: number; readonly hash: string };
  /** After the newest entry applied; tells a restored backup from the log it was taken of. */
  readonly cursor?: Cursor;
  readonly readSeq: number;
  /** Server time of the newest message seen. */
  readonly lastAtMs?: number;
  readonly draft?: Sealed;
  /** The newest epoch in which this device has sealed a profile. */
  readonly introduced?: number;
  /** The room cannot be entered any more. */
  readonly ended?: RoomEnd;
}

/** Something to be sent. */
export interface OutboxRow {
  /** Place in the outbox; given by the database. */
  readonly order?: number;
  /** Its name in this browser, stable from writing to delivery. */
  readonly local: string;
  readonly room: string;
  readonly type: number;
  /** The seq of the message it is about; 0 for none. */
  readonly target: number;
  /** The body's JSON, sealed under the local key. */
  readonly body: Sealed;
  readonly writtenAtMs: number;
  readonly state: "draft" | "sealed" | "failed";
  /** With `sealed`: the very bytes that are sent until they are answered. */
  readonly sealed?: {
    readonly instance: string;
    readonly counter: number;
    readonly envelope: Bytes;
    readonly hash: string;
  };
  /** With `failed`. */
  readonly failure?: ErrorCode;
}

/** This browser's device and the key that seals what it stores. */
export interface Identity {
  readonly device: Device;
  readonly local: CryptoKey;
}

interface Schema extends DBSchema {
  identity: { key: string; value: Identity };
  settings: { key: string; value: Sealed };
  rooms: { key: string; value: RoomRecord };
  outbox: { key: number; value: OutboxRow; indexes: { room: string } };
}

/** IndexedDB refused: private mode, no space left, or a damaged profile. */
export class StorageRefused extends Error {}

/** Runs a database operation; every failure of it is `StorageRefused`. */
async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new StorageRefused("the browser's storage refused", { cause });
  }
}

export class Store {
  readonly #db: IDBPDatabase<Schema>;
  readonly identity: Identity;

  private constructor(db: IDBPDatabase<Schema>, identity: Identity) {
    this.#db = db;
    this.identity = identity;
  }

  /** Opens the database, and makes this browser's device if it has none. Throws `StorageRefused`. */
  static async open(name = "snug"): Promise<Store> {
    return guarded(async () => {
      const db = await openDB<Schema>(name, 1, {
        upgrade(fresh) {
          fresh.createObjectStore("identity");
          fresh.createObjectStore("settings");
          fresh.createObjectStore("rooms", { keyPath: "room" });
          const outbox = fresh.createObjectStore("outbox", { keyPath: "order", autoIncrement: true });
          outbox.createIndex("room", "room");
        },
      });
      const known = await db.get("identity", "this");
      return new Store(db, known ?? (await Store.#makeIdentity(db)));
    });
  }

  static async #makeIdentity(db: IDBPDatabase<Schema>): Promise<Identity> {
    const made = { device: await generateDevice(), local: await generateLocalKey() };
    // Two tabs may come here at the same time; the first one's device is everybody's.
    const tx = db.transaction("identity", "readwrite");
    const known = await tx.store.get("this");
    if (known === undefined) await tx.store.put(made, "this");
    await tx.done;
    return known ?? made;
  }

  close(): void {
    this.#db.close();
  }

  /** Seals a text under the local key. */
  sealText(purpose: string, text: string): Promise<Sealed> {
    return sealLocally(this.identity.local, `snug/${purpose}`, utf8(text));
  }

  /** Opens a sealed text; `undefined` when it cannot be opened. */
  async openText(purpose: string, sealed: Sealed): Promise<string | undefined> {
    try {
      return fromUtf8(await openLocally(this.identity.local, `snug/${purpose}`, sealed));
    } catch {
      return undefined;
    }
  }

  async setting(name: string): Promise<string | undefined> {
    const sealed = await guarded(() => this.#db.get("settings", name));
    return sealed === undefined ? undefined : this.openText(`setting ${name}`, sealed);
  }

  async keepSetting(name: string, text: string): Promise<void> {
    const sealed = await this.sealText(`setting ${name}`, text);
    await guarded(() => this.#db.put("settings", sealed, name));
  }

  rooms(): Promise<RoomRecord[]> {
    return guarded(() => this.#db.getAll("rooms"));
  }

  /**
   * Keeps a room just entered together with what must be sent there first, so that a crash cannot part them. `entered` makes
   * the record of the one that is there: what is written to it meanwhile stays. Answers with the record.
   */
  keepRoom(
    room: string,
    entered: (known: RoomRecord | undefined) => RoomRecord,
    first: OutboxRow,
  ): Promise<RoomRecord> {
    return guarded(async () => {
      const tx = this.#db.transaction(["rooms", "outbox"], "readwrite");
      const record = entered(await tx.objectStore("rooms").get(room));
      await tx.objectStore("rooms").put(record);
      await tx.objectStore("outbox").add(first);
      await tx.done;
      return record;
    });
  }

  /** Changes fields of a room's record; answers with the new record, or `undefined` when there is none. */
  changeRoom(room: string, change: (record: RoomRecord) => RoomRecord): Promise<RoomRecord | undefined> {
    return guarded(async () => {
      const tx = this.#db.transaction("rooms", "readwrite");
      const record = await tx.store.get(room);
      const changed = record === undefined ? undefined : change(record);
      if (changed !== undefined) await tx.store.put(changed);
      await tx.done;
      return changed;
    });
  }

  /** Forgets a room with everything that waits to be sent there. */
  forgetRoom(room: string): Promise<void> {
    return guarded(async () => {
      const tx = this.#db.transaction(["rooms", "outbox"], "readwrite");
      await tx.objectStore("rooms").delete(room);
      for (const key of await tx.objectStore("outbox").index("room").getAllKeys(room)) {
        await tx.objectStore("outbox").delete(key);
      }
      await tx.done;
    });
  }

  /** A room's outbox in the order written. */
  outbox(room: string): Promise<OutboxRow[]> {
    return guarded(() => this.#db.getAllFromIndex("outbox", "room", room));
  }

  addToOutbox(row: OutboxRow): Promise<void> {
    return guarded(async () => void (await this.#db.add("outbox", row)));
  }

  /**
   * Changes a room's rows in one transaction: `change` answers with the new row, `null` to delete it, or the same
   * row to leave it. Answers with the rows left.
   */
  changeOutbox(room: string, change: (row: OutboxRow) => OutboxRow | null): Promise<OutboxRow[]> {
    return guarded(async () => {
      const tx = this.#db.transaction("outbox", "readwrite");
      const left: OutboxRow[] = [];
      for (const row of await tx.store.index("room").getAll(room)) {
        const changed = change(row);
        if (changed === null) await tx.store.delete(row.order ?? -1);
        else if (changed !== row) await tx.store.put(changed);
        if (changed !== null) left.push(changed);
      }
      await tx.done;
      return left;
    });
  }
}

/** Asks the browser not to clear this page's storage when space is short. Whether it agrees is its own decision. */
export async function askToPersist(): Promise<boolean> {
  try {
    return await navigator.storage.persist();
  } catch {
    return false;
  }
}
