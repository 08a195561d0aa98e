import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { ApiError, type Api } from "./api.ts";
import { b64, fromB64 } from "./base64url.ts";
import { type Bytes } from "./bytes.ts";
import { createRoom, joinByInvite, joinByPassword, RoomContradicted, RoomUntrusted, type EnterWorld } from "./enter.ts";
import { rawRoomKey } from "./crypto/room-key.ts";
import { sha256 } from "./crypto/primitives.ts";
import { grantKeys, sealGrant } from "./crypto/grant.ts";
import { parseRecovery, recoveryDevice } from "./crypto/recovery.ts";
import { openRoomKey, SealRefused } from "./crypto/sealed-key.ts";
import { Store, type RoomRecord } from "./store.ts";
import { type CreateRoom, type Entered, type JoinRequest, type LookupAnswer } from "../protocol.gen.ts";

const NAMES = { name: "Garden", password: "correct horse", myName: "Ana" };
const HISTORY = "AwMDAwMDAwMDAwMDAwMDAw";
const silently = () => undefined;

/** A server that keeps one room; `tamper` changes what it answers. */
class FakeServer {
  room: CreateRoom | undefined;
  invites = new Map<string, { auth: string; blob: string }>();
  kdf = 1;
  nonces = 0;
  staleNonces = 0;
  tamper: (entered: Entered) => Entered = (entered) => entered;

  api(): Api {
    const calls = {
      nonce: () => Promise.resolve(`nonce ${++this.nonces}`),
      signIn: (nonce: string) => Promise.resolve({ nonce }),
      lookup: (): Promise<LookupAnswer> => {
        const { room = "", grant = "" } = this.room ?? {};
        return Promise.resolve({ room, grant, kdf: this.kdf, nonce: "looked up" });
      },
      createRoom: (request: CreateRoom) => {
        this.room = request;
        return Promise.resolve(this.#entered("", "owner"));
      },
      join: (request: JoinRequest) => {
        if (this.staleNonces-- > 0) return Promise.reject(new ApiError({ code: "nonce_expired" }));
        const grant = request.grant === this.room?.grant ? this.room : this.invites.get(request.grant);
        if (grant?.auth !== request.auth) return Promise.reject(new ApiError({ code: "wrong_credentials" }));
        return Promise.resolve(this.tamper(this.#entered(grant.blob, "member")));
      },
    };
    return calls as unknown as Api;
  }

  #entered(blob: string, role: "owner" | "member"): Entered {
    const { room = "", name = "", epoch_record = "" } = this.room ?? {};
    return {
      room: { room, name, history: HISTORY, head: 1, epoch: 0, chain: 1, locked: false, role },
      device: "",
      blob,
      epoch_record: { seq: 1, at_ms: 1, envelope: epoch_record },
      token_expires_at_ms: 0,
    };
  }
}

let server: FakeServer;
const stores: Store[] = [];
let databases = 0;

/** Another browser. Its password hash is a fast one: what it is made of is the vectors' business. */
async function browser(): Promise<EnterWorld> {
  const store = await Store.open(`enter-${databases++}`);
  stores.push(store);
  const hash = (password: Bytes, salt: Bytes) => sha256(password, salt);
  return { api: server.api(), store, hash, now: () => 1_790_000_000_000 };
}

async function rawKey({ store }: EnterWorld, record: RoomRecord): Promise<string> {
  const [key] = record.keys;
  if (key === undefined) throw new Error("no key");
  return b64(await rawRoomKey(store.identity.local, fromB64(record.room), key));
}

beforeEach(() => {
  server = new FakeServer();
});

afterEach(() => {
  for (const store of stores.splice(0)) store.close();
});

describe("entering a room", () => {
  it("by password gives the creator's key, and an introduction to send first", async () => {
    const ana = await browser();
    const { record, recoveryKey } = await createRoom(ana, NAMES, silently);
    expect(recoveryKey).toMatch(/^snug-recovery(-[a-z2-7]{4}){13}$/);
    const ben = await browser();
    const steps: string[] = [];
    const joined = await joinByPassword(ben, { ...NAMES, myName: "Ben" }, (step) => steps.push(step));
    expect(steps).toEqual(["asking", "deriving", "entering"]);
    expect(await rawKey(ben, joined)).toBe(await rawKey(ana, record));
    expect(joined.pinned).toEqual(record.pinned);
    const [row] = await ben.store.outbox(joined.room);
    const body = row && (await ben.store.openText(`outbox ${row.local}`, row.body));
    expect(JSON.parse(body ?? "{}")).toMatchObject({ name: "Ben", joined: true });
  });

  it("leaves the room's key for the recovery key alone", async () => {
    const ana = await browser();
    const { record, recoveryKey } = await createRoom(ana, NAMES, silently);
    const secret = parseRecovery(recoveryKey);
    const sealed = server.room?.recovery;
    if (secret === undefined || sealed === undefined) throw new Error("nothing was left for the recovery key");
    const recovery = await recoveryDevice(secret);
    expect([sealed.sign_key, sealed.agree_key]).toEqual([b64(recovery.signKey), b64(recovery.agreeKey)]);
    const room = fromB64(record.room);
    expect(b64(await openRoomKey(recovery, room, 0, fromB64(sealed.key)))).toBe(await rawKey(ana, record));
    await expect(openRoomKey(ana.store.identity.device, room, 0, fromB64(sealed.key))).rejects.toThrow(SealRefused);
  });

  it("keeps no password, raw key or recovery key in storage", async () => {
    const ana = await browser();
    const { record, recoveryKey } = await createRoom(ana, NAMES, silently);
    const [key] = record.keys;
    expect(key?.use.extractable).toBe(false);
    expect(ana.store.identity.local.extractable).toBe(false);
    const secrets = [NAMES.password, recoveryKey, await rawKey(ana, record)];
    const stored = JSON.stringify(
      [await ana.store.rooms(), await ana.store.outbox(record.room)],
      (_, value: unknown) => (value instanceof Uint8Array ? b64(value) : value),
    );
    for (const secret of secrets) expect(stored).not.toContain(secret);
  });

  it("by invite works without the password", async () => {
    const ana = await browser();
    const { record } = await createRoom(ana, NAMES, silently);
    const invite = { room: fromB64(record.room), grant: fromB64(HISTORY), secret: await sha256(fromB64(HISTORY)) };
    const keys = await grantKeys(invite.secret, invite.room, invite.grant);
    const content = { epoch: 0, roomKey: fromB64(await rawKey(ana, record)), recordHash: fromB64(record.pinned.hash) };
    const blob = b64(await sealGrant(keys, invite.room, invite.grant, content));
    server.invites.set(b64(invite.grant), { auth: b64(keys.auth), blob });
    const ben = await browser();
    expect(await rawKey(ben, await joinByInvite(ben, invite, "Ben", silently))).toBe(await rawKey(ana, record));
  });

  it("asks for a new nonce when the first has become too old", async () => {
    await createRoom(await browser(), NAMES, silently);
    server.staleNonces = 1;
    const before = server.nonces;
    await joinByPassword(await browser(), NAMES, silently);
    expect(server.nonces).toBe(before + 1);
  });

  it("again changes the name without becoming new", async () => {
    const ana = await browser();
    const { record } = await createRoom(ana, NAMES, silently);
    await joinByPassword(ana, { ...NAMES, myName: "Anna" }, silently);
    const rows = await ana.store.outbox(record.room);
    const last = rows.at(-1);
    const body = last && (await ana.store.openText(`outbox ${last.local}`, last.body));
    expect(JSON.parse(body ?? "{}")).toMatchObject({ name: "Anna", joined: false });
    expect((await ana.store.rooms()).length).toBe(1);
  });

  it("again loses nothing that is noted of it meanwhile", async () => {
    const ana = await browser();
    const { record } = await createRoom(ana, NAMES, silently);
    const { store } = ana;
    const rooms = store.rooms.bind(store);
    const newer = { epoch: 1, hash: "another tab's" };
    store.rooms = async () => {
      const known = await rooms();
      await store.changeRoom(record.room, (one) => ({ ...one, readSeq: 7, pinned: newer }));
      return known;
    };
    expect(await joinByPassword(ana, NAMES, silently)).toMatchObject({ readSeq: 7, pinned: newer });
    expect(await rooms()).toMatchObject([{ readSeq: 7, pinned: newer }]);
  });
});

describe("entering a room that has ended here", () => {
  it("by its password takes it up again, with the older keys, and is introduced as new", async () => {
    const ana = await browser();
    const { record } = await createRoom(ana, NAMES, silently);
    const older = { epoch: 7, use: record.keys[0]?.use, sealed: record.keys[0]?.sealed } as RoomRecord["keys"][number];
    await ana.store.changeRoom(record.room, (kept) => ({
      ...kept,
      ended: "removed",
      introduced: 0,
      readSeq: 12,
      keys: [...kept.keys, older],
    }));
    const again = await joinByPassword(ana, NAMES, silently);
    expect([again.ended, again.introduced, again.readSeq]).toEqual([undefined, undefined, 12]);
    expect(again.keys.map(({ epoch }) => epoch).sort()).toEqual([0, 7]);
    const last = (await ana.store.outbox(record.room)).at(-1);
    const body = last && (await ana.store.openText(`outbox ${last.local}`, last.body));
    expect(JSON.parse(body ?? "{}")).toMatchObject({ joined: true });
  });
});

describe("a room is not trusted", () => {
  const refuses = async (change: () => void) => {
    await createRoom(await browser(), NAMES, silently);
    change();
    const ben = await browser();
    await expect(joinByPassword(ben, NAMES, silently)).rejects.toBeInstanceOf(RoomUntrusted);
    expect(await ben.store.rooms()).toEqual([]);
  };
  const flipped = (text: string, at: number) => {
    const bytes = fromB64(text);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    return b64(bytes);
  };

  it("when the server wants another key derivation", () => refuses(() => (server.kdf = 2)));

  it("when the grant does not open", () =>
    refuses(() => (server.tamper = (entered) => ({ ...entered, blob: flipped(entered.blob, 100) }))));

  it("when the grant's commitment is another", () =>
    refuses(() => (server.tamper = (entered) => ({ ...entered, blob: flipped(entered.blob, 1) }))));

  it("when the record is not the grant's", () =>
    refuses(
      () =>
        (server.tamper = (entered) => {
          const envelope = flipped(entered.epoch_record.envelope, 90);
          return { ...entered, epoch_record: { ...entered.epoch_record, envelope } };
        }),
    ));

  it("when the server answers with another room", () =>
    refuses(() => (server.tamper = (entered) => ({ ...entered, room: { ...entered.room, room: HISTORY } }))));

  it("when a record of an older epoch is shown later", async () => {
    const ana = await browser();
    const { record } = await createRoom(ana, NAMES, silently);
    await ana.store.changeRoom(record.room, (kept) => ({ ...kept, pinned: { epoch: 3, hash: HISTORY } }));
    await expect(joinByPassword(ana, NAMES, silently)).rejects.toBeInstanceOf(RoomContradicted);
  });

  it("when another record of a known epoch is shown later", async () => {
    const ana = await browser();
    const { record } = await createRoom(ana, NAMES, silently);
    await ana.store.changeRoom(record.room, (kept) => ({ ...kept, pinned: { epoch: 0, hash: HISTORY } }));
    await expect(joinByPassword(ana, NAMES, silently)).rejects.toBeInstanceOf(RoomContradicted);
  });

  it("until what this device knows of it is forgotten", async () => {
    const ana = await browser();
    const { record } = await createRoom(ana, NAMES, silently);
    await ana.store.changeRoom(record.room, (kept) => ({ ...kept, pinned: { epoch: 3, hash: HISTORY } }));
    await ana.store.forgetRoom(record.room);
    const joined = await joinByPassword(ana, NAMES, silently);
    expect(joined.pinned).toEqual(record.pinned);
  });
});

it("a wrong password is the server's to tell", async () => {
  await createRoom(await browser(), NAMES, silently);
  const ben = await browser();
  const attempt = joinByPassword(ben, { ...NAMES, password: "guess" }, silently);
  await expect(attempt).rejects.toMatchObject({ code: "wrong_credentials" });
});
