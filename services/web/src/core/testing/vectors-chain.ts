//! The vector of a chain: entries of all sorts, allowed and not, and what holds after each.

import { b64, fromB64 } from "../base64url.ts";
import { parseBody } from "../bodies.ts";
import { type Bytes } from "../bytes.ts";
import { Chain, type ChainEntry } from "../chain/chain.ts";
import { byDevice, sortedDevices } from "../chain/order.ts";
import { type Cause } from "../chain/record.ts";
import { stateJson, type Admin, type DeviceKeys, type RoomState } from "../chain/state.ts";
import { stepBody, type Step } from "../chain/step.ts";
import { type Device } from "../crypto/device.ts";
import {
  EntryType,
  envelopeHash,
  openEnvelope,
  readHeader,
  sealEnvelope,
  streamKey,
  verifyOpened,
} from "../crypto/envelope.ts";
import { commitsTo, createEpochRecord, deviceKeys, sealNextRecord } from "../crypto/epoch-record.ts";
import { hkdfKey } from "../crypto/primitives.ts";
import { recoveryDevice } from "../crypto/recovery.ts";
import { fixed, fixedId, keyOf, person, previousIv, type Scene } from "./scene.ts";

/** A chain: `room_keys` by epoch, `people` whose keys verify the entries. */
export interface ChainVector {
  room: string;
  room_keys: string[];
  people: { sign_key: string; agree_key: string }[];
  /** `fault` is null where the entry counts; `newest` and `state` are what holds after it. */
  entries: { name: string; seq: number; envelope: string; fault: string | null; newest: number; state: object }[];
}

/** Reads a chain's entry as who has all keys does. */
export async function chainEntry(
  room: string,
  roomKeys: readonly string[],
  signKeys: ReadonlyMap<string, Bytes>,
  seq: number,
  envelope: Bytes,
): Promise<ChainEntry> {
  const [header, hash] = [readHeader(envelope), b64(await envelopeHash(envelope))];
  const unreadable = { seq, hash, header, content: { kind: "unreadable" } } as const;
  const [raw, signKey] = [roomKeys[header.epoch], signKeys.get(header.device)];
  if (raw === undefined || signKey === undefined || header.room !== room) return unreadable;
  try {
    const roomKey = await hkdfKey(fromB64(raw));
    const opened = await openEnvelope(envelope, (_, bytes) => streamKey(roomKey, bytes));
    const content = await parseBody(header.type, opened.body);
    if (!(await verifyOpened(opened, signKey))) return unreadable;
    if (content.kind === "epoch_record" && !(await commitsTo(content.record, roomKey, fromB64(room), header.epoch))) {
      return unreadable;
    }
    return { seq, hash, header, sentAtMs: opened.sentAtMs, content };
  } catch {
    return unreadable;
  }
}

/** What is wrong with an entry that is written. */
type Wrong = "target" | "hash" | "counter" | "bytes";

/** Writes a chain, entry by entry, as the chain itself folds it. */
class Writer {
  readonly #scene: Scene;
  readonly #roomKeys: string[];
  readonly #signKeys: ReadonlyMap<string, Bytes>;
  #chain: Chain | undefined;
  readonly entries: ChainVector["entries"] = [];
  #sentAtMs: number;

  constructor(scene: Scene, roomKeys: string[], people: readonly Device[]) {
    this.#scene = scene;
    this.#roomKeys = roomKeys;
    this.#signKeys = new Map(people.map(({ id, signKey }) => [id, signKey]));
    this.#sentAtMs = scene.sentAtMs;
  }

  get chain(): Chain {
    if (this.#chain === undefined) throw new Error("the chain has not been founded");
    return this.#chain;
  }

  get #seq(): number {
    return (this.entries.at(-1)?.seq ?? -1) + 2;
  }

  async #instance(): Promise<Bytes> {
    this.#sentAtMs += 1_000;
    return fixedId(`chain instance ${this.#seq}`);
  }

  async #add(name: string, envelope: Bytes): Promise<void> {
    const seq = this.#seq;
    const entry = await chainEntry(b64(this.#scene.room), this.#roomKeys, this.#signKeys, seq, envelope);
    let fault: string | null = null;
    if (this.#chain === undefined) this.#chain = Chain.found(entry);
    else {
      const outcome = this.#chain.apply(entry);
      if (outcome.kind === "fault") fault = outcome.fault;
    }
    const { newest, state } = this.#chain;
    this.entries.push({ name, seq, envelope: b64(envelope), fault, newest: newest.seq, state: stateJson(state) });
  }

  async found(name: string): Promise<void> {
    const { room, device, recovery, roomKey } = this.#scene;
    const instance = await this.#instance();
    await this.#add(
      name,
      await createEpochRecord(await hkdfKey(roomKey), room, instance, device, recovery, this.#sentAtMs),
    );
  }

  async step(name: string, signer: Device, step: Step | object, wrong?: Wrong): Promise<void> {
    const { room } = this.#scene;
    const { newest, epoch } = this.chain;
    const instance = await this.#instance();
    const previous = wrong === "hash" ? b64(await fixed("another hash")) : newest.hash;
    const envelope = await sealEnvelope(await hkdfKey(await keyOf(this.#scene, epoch)), {
      type: EntryType.step,
      room,
      epoch,
      device: signer,
      deviceBytes: fromB64(signer.id),
      instance,
      counter: wrong === "counter" ? 1 : 0,
      targetSeq: wrong === "target" ? 1 : newest.seq,
      prev: { seq: newest.seq, hash: fromB64(newest.hash) },
      sentAtMs: this.#sentAtMs,
      body: stepBody(previous, step as Step),
    });
    if (wrong === "bytes") envelope[envelope.length - 1] = (envelope[envelope.length - 1] ?? 0) ^ 1;
    await this.#add(name, envelope);
  }

  /** `renewed` becomes the recovery device, if it is given. */
  async record(
    name: string,
    signer: Device,
    cause: Cause,
    change: Partial<RoomState> = {},
    renewed?: Device,
  ): Promise<void> {
    const { room, device } = this.#scene;
    const recovery = renewed && (await deviceKeys(renewed));
    const { newest, nextEpoch: epoch } = this.chain;
    const instance = await this.#instance();
    const next = this.chain.nextState(signer.id, cause, this.#sentAtMs, recovery);
    const envelope = await sealNextRecord(
      {
        room,
        instance,
        signer,
        epoch,
        roomKey: await hkdfKey(await keyOf(this.#scene, epoch)),
        previousKey: await keyOf(this.#scene, epoch - 1),
        cause,
        ...(recovery && { recovery }),
        state: { ...(typeof next === "string" ? this.chain.state : next), ...change },
        newest,
        prev: { seq: newest.seq, hash: fromB64(newest.hash) },
        recipients: [device.id, (renewed ?? this.#scene.recovery).id],
        sentAtMs: this.#sentAtMs,
      },
      await previousIv(epoch),
    );
    await this.#add(name, envelope);
  }
}

/** The admins with this recovery device in the place of the one there is, as if `by` had named it. */
function withRecovery({ admins }: RoomState, keys: DeviceKeys, by: string): Partial<RoomState> {
  const others = admins.filter((admin) => !admin.recovery);
  const all: Admin[] = [...others, { ...keys, role: "owner", recovery: true }];
  return { admins: all.sort((a, b) => byDevice(a.device, b.device)), recoveryBy: by };
}

export async function chainVector(scene: Scene): Promise<ChainVector> {
  const { device: owner, recovery } = scene;
  const [moderator, member, loud] = [await person("moderator"), await person("member"), await person("loud")];
  const renewed = await recoveryDevice(await fixed("second recovery"));
  const people = [owner, recovery, moderator, member, renewed];
  const roomKeys = await Promise.all(
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(async (epoch) => b64(await keyOf(scene, epoch))),
  );
  const to = new Writer(scene, roomKeys, people);
  const late = scene.sentAtMs + 10 ** 9;
  const appointed = { type: "role", role: "moderator", ...(await deviceKeys(moderator)) } as const;
  const transfer = { type: "transfer", ...(await deviceKeys(moderator)) } as const;

  await to.found("founding");
  await to.step("a member may not appoint", member, { ...appointed, ...(await deviceKeys(member)) });
  await to.step("an owner appoints a moderator", owner, appointed);
  await to.step("a moderator sets the topic", moderator, { type: "topic", topic: "Zürich 🦉" });
  await to.step("a topic out of its form", moderator, { type: "topic", topic: " two  spaces" });
  await to.step("a moderator slows the room", moderator, { type: "slow", intervalMs: 3_600_000 });
  await to.step("slower than may be", moderator, { type: "slow", intervalMs: 3_600_001 });
  await to.step("a moderator locks the room", moderator, { type: "lock", locked: true });
  await to.step("a moderator mutes a member", moderator, { type: "mute", device: member.id, untilMs: late });
  await to.step("mutes another for a moment", moderator, { type: "mute", device: loud.id, untilMs: scene.sentAtMs });
  await to.step("lifts the first", moderator, { type: "mute", device: member.id, untilMs: 0 });
  await to.step("and mutes again", moderator, { type: "mute", device: member.id, untilMs: late });
  await to.step("nobody mutes their equal", owner, { type: "mute", device: owner.id, untilMs: late });
  await to.step("a moderator erases what a member wrote", moderator, { type: "erase", device: loud.id });
  await to.step("a moderator may not erase what an owner wrote", moderator, { type: "erase", device: owner.id });
  await to.step("a moderator may not replace the password", moderator, { type: "password", grant: loud.id });
  await to.step("an owner replaces it", owner, { type: "password", grant: loud.id });
  await to.step("an owner sets the retention", owner, { type: "retention", ageMs: 315_360_000_000 });
  await to.step("the last owner may not step down", owner, { ...appointed, ...(await deviceKeys(owner)) });
  await to.step("nobody transfers to a recovery device", owner, {
    type: "transfer",
    ...(await deviceKeys(recovery)),
  });
  await to.step("a step of a later version takes its place", owner, { type: "later" });
  await to.step("another hash takes its place", owner, { type: "lock", locked: false }, "hash");
  await to.step("broken bytes take their place", owner, { type: "lock", locked: false }, "bytes");
  await to.step("not the first of its instance", owner, { type: "lock", locked: false }, "counter");
  await to.step("not upon the newest", owner, { type: "lock", locked: false }, "target");
  const banned = { type: "remove", devices: sortedDevices([member.id, loud.id]), ban: true } as const;
  await to.record("a moderator bans two members", moderator, banned);
  await to.step("a ban is lifted", moderator, { type: "unban", device: loud.id });
  await to.step("and one that is none changes nothing", moderator, { type: "unban", device: owner.id });
  await to.record("an owner cuts the history", owner, { type: "history" });
  await to.step("an owner hands the room over", owner, transfer);
  await to.record("who was owner may not cut the history", owner, { type: "history" }, { historyFrom: 3 });
  await to.record("the key between is nobody's", member, { type: "rotate" });
  await to.record("the recovery device cuts the history", recovery, { type: "history" });
  await to.step("the recovery device hands over and stays", recovery, { ...transfer, ...(await deviceKeys(owner)) });
  await to.step("one owner steps down", owner, { ...appointed, ...(await deviceKeys(moderator)) });
  const { state } = to.chain;
  const forged = withRecovery(state, await deviceKeys(renewed), moderator.id);
  await to.record("a moderator may not replace the recovery device", moderator, { type: "rotate" }, forged, renewed);
  const closed = { type: "history" } as const;
  await to.record(
    "an owner does, and says so in the state alone",
    owner,
    closed,
    withRecovery(state, await deviceKeys(renewed), owner.id),
  );
  await to.record("it says so in the record alone", owner, closed, { admins: state.admins }, renewed);
  await to.record("an owner replaces the recovery device", owner, closed, {}, renewed);
  await to.step("the old one may nothing", recovery, { type: "topic", topic: "Still here" });
  await to.step("the new one makes an owner", renewed, {
    ...appointed,
    role: "owner",
    ...(await deviceKeys(moderator)),
  });
  return {
    room: b64(scene.room),
    room_keys: roomKeys,
    people: people.map(({ signKey, agreeKey }) => ({ sign_key: b64(signKey), agree_key: b64(agreeKey) })),
    entries: to.entries,
  };
}
