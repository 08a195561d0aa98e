import { beforeEach, describe, expect, it } from "vitest";

import { b64, fromB64 } from "./base64url.ts";
import { profileBody, messageBody } from "./bodies.ts";
import { random, type Bytes } from "./bytes.ts";
import { generateDevice, type Device } from "./crypto/device.ts";
import { EntryType, NOWHERE, openEnvelope, sealEnvelope, streamKey } from "./crypto/envelope.ts";
import { createEpochRecord } from "./crypto/epoch-record.ts";
import { hkdfKey } from "./crypto/primitives.ts";
import { Directory } from "./directory.ts";
import { EntryOpener } from "./open-entry.ts";

const room = random(16);
let key: CryptoKey;
let ana: Device;
let fetched: string[];
let directory: Directory;
let opener: EntryOpener;

beforeEach(async () => {
  key = await hkdfKey(random(32));
  ana = await generateDevice();
  fetched = [];
  directory = new Directory((device) => {
    fetched.push(device);
    return Promise.resolve(device === ana.id ? ana : undefined);
  });
  opener = new EntryOpener(b64(room), (epoch) => (epoch === 0 ? key : undefined), directory);
});

async function sealed(change: { type?: number; body?: string; by?: Device; room?: Bytes; epoch?: number } = {}) {
  const device = change.by ?? ana;
  const envelope = await sealEnvelope(key, {
    type: change.type ?? EntryType.message,
    room: change.room ?? room,
    epoch: change.epoch ?? 0,
    device,
    deviceBytes: fromB64(device.id),
    instance: random(16),
    counter: 0,
    targetSeq: 0,
    prev: NOWHERE,
    sentAtMs: 1,
    body: change.body ?? messageBody("hello"),
  });
  return { seq: 2, atMs: 1, envelope };
}

const contents = async (...raws: Awaited<ReturnType<typeof sealed>>[]) =>
  (await opener.openAll(raws)).map(({ content }) => content);

it("an unknown sender's keys are fetched once, however many messages come", async () => {
  const raws = await Promise.all(Array.from({ length: 5 }, () => sealed()));
  expect(await contents(...raws)).toEqual(raws.map(() => ({ kind: "message", text: "hello", mentions: [] })));
  expect(fetched).toEqual([ana.id]);
});

it("a profile brings its own keys and a name", async () => {
  const profile = await sealed({ type: EntryType.profile, body: profileBody("Ana", true, ana) });
  const before = { ...(await sealed()), seq: 1 };
  expect(await contents(before, profile)).toMatchObject([{ kind: "message" }, { kind: "profile", name: "Ana" }]);
  expect([fetched, directory.nameAt(ana.id, 2)]).toEqual([[], "Ana"]);
});

describe("is unreadable, whatever the reason", () => {
  const unreadable = async (raw: Awaited<ReturnType<typeof sealed>>) =>
    expect(await contents(raw)).toEqual([{ kind: "unreadable" }]);

  it("what nobody's keys verify", async () => unreadable(await sealed({ by: await generateDevice() })));

  it("what another signed in a member's name", async () => {
    const other = await generateDevice();
    await unreadable(await sealed({ by: { ...other, id: ana.id } }));
  });

  it("a profile with keys that are not its device's", async () => {
    const other = await generateDevice();
    await unreadable(
      await sealed({ type: EntryType.profile, body: profileBody("Ana", true, other), by: other }).then((raw) => ({
        ...raw,
        envelope: raw.envelope.fill(7, 28, 44),
      })),
    );
  });

  it("an entry of another room, an unknown epoch or a later type", async () => {
    await unreadable(await sealed({ room: random(16) }));
    await unreadable(await sealed({ epoch: 1 }));
    await unreadable(await sealed({ type: 9, body: "{}" }));
  });

  it("a record that does not commit to the key it is sealed under", async () => {
    const [own, recovery] = [await hkdfKey(random(32)), await generateDevice()];
    const body = async (committed: CryptoKey) => {
      const record = await createEpochRecord(committed, room, random(16), ana, recovery, 1);
      const opened = await openEnvelope(record, (_, header) => streamKey(committed, header));
      return opened.body;
    };
    const type = EntryType.epochRecord;
    expect(await contents(await sealed({ type, body: await body(key) }))).toMatchObject([{ kind: "epoch_record" }]);
    await unreadable(await sealed({ type, body: await body(own) }));
  });

  it("a body that must not be shown, and bytes that are no envelope", async () => {
    await unreadable(await sealed({ body: '{"text":"bell\\u0007"}' }));
    await unreadable({ seq: 1, atMs: 1, envelope: random(348) });
    await unreadable({ seq: 1, atMs: 1, envelope: random(3) });
  });
});

it("a server cannot lend a device other keys", async () => {
  const other = await generateDevice();
  const lying = new Directory(() => Promise.resolve(other));
  expect(await lying.signKey(ana.id)).toBeUndefined();
});

it("a tombstone keeps its place and its hash", async () => {
  const { envelope } = await sealed();
  const erased = random(32);
  const [entry] = await opener.openAll([{ seq: 4, atMs: 1, envelope: envelope.slice(0, 76), erased }]);
  expect(entry).toMatchObject({ seq: 4, hash: b64(erased), content: { kind: "erased" }, header: { device: ana.id } });
});

it("the epochs are told whose key was not there", async () => {
  await contents(await sealed(), await sealed({ epoch: 3 }));
  expect([...opener.lacked]).toEqual([3]);
});
