import { beforeAll, describe, expect, it } from "vitest";

import { b64 } from "./base64url.ts";
import { editBody, messageBody, messageText, parseBody, parseTalk, pinBody, reactionBody } from "./bodies.ts";
import { random, utf8 } from "./bytes.ts";
import { recordBody, type EpochRecord } from "./chain/record.ts";
import { byDevice, sortedDevices } from "./chain/order.ts";
import { foundingState, type DeviceKeys, type RoomState } from "./chain/state.ts";
import { stepBody, type Step } from "./chain/step.ts";
import { deviceId } from "./crypto/device.ts";
import { EntryType } from "./crypto/envelope.ts";
import { emojiAllowed } from "./emoji.ts";
import { topicFault, typedTopic } from "./text.ts";
import { BODY_BYTES_MAX } from "../protocol.gen.ts";

const someDevices = (count: number) => sortedDevices(Array.from({ length: count }, () => b64(random(16))));
const hash = b64(random(32));

async function someKeys(): Promise<DeviceKeys> {
  const [signKey, agreeKey] = [random(32), random(32)];
  return { device: await deviceId({ signKey, agreeKey }), signKey: b64(signKey), agreeKey: b64(agreeKey) };
}

describe("what members say", () => {
  it("is read as it was written", () => {
    const mentions = someDevices(50);
    expect(parseTalk(EntryType.message, messageBody("hi", { replyTo: 7, mentions }))).toEqual({
      kind: "message",
      text: "hi",
      replyTo: 7,
      mentions,
    });
    expect(parseTalk(EntryType.message, messageBody("hi"))).toEqual({ kind: "message", text: "hi", mentions: [] });
    expect(parseTalk(EntryType.edit, editBody("ho", mentions))).toEqual({ kind: "edit", text: "ho", mentions });
    expect(parseTalk(EntryType.deletion, "{}")).toEqual({ kind: "deletion" });
    expect(parseTalk(EntryType.reaction, reactionBody("👍", false))).toEqual({
      kind: "reaction",
      emoji: "👍",
      on: false,
    });
    expect(parseTalk(EntryType.pin, pinBody(true))).toEqual({ kind: "pin", on: true });
    expect(messageText(editBody("ho"))).toBe("ho");
    expect(messageText(reactionBody("👍", true))).toBe("");
  });

  it("is refused out of bounds", () => {
    expect(() => parseTalk(EntryType.message, messageBody("hi", { mentions: someDevices(51) }))).toThrow();
    for (const extra of ['"reply_to":0', '"reply_to":1.5', '"reply_to":"1"', '"mentions":null', '"mentions":["x"]']) {
      expect(() => parseTalk(EntryType.message, `{"text":"hi",${extra}}`), extra).toThrow();
    }
    expect(() => parseTalk(EntryType.edit, '{"text":""}')).toThrow();
    expect(() => parseTalk(EntryType.reaction, '{"emoji":"👍"}')).toThrow();
    expect(() => parseTalk(EntryType.reaction, '{"emoji":"a","on":true}')).toThrow();
    expect(() => parseTalk(EntryType.pin, '{"on":1}')).toThrow();
    expect(() => parseTalk(EntryType.deletion, "[]")).toThrow();
    expect(() => parseTalk(10, "{}")).toThrow();
  });
});

it("a reaction is a short emoji and nothing that disturbs the text around it", () => {
  for (const emoji of ["👍", "❤️", "👩‍👩‍👧‍👦", "🇵🇹", "1️⃣", "#️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👍🏽", "🅰️", "™️", "!?"]) {
    expect(emojiAllowed(emoji), emoji).toBe(true);
  }
  const refused = [
    "",
    "a",
    "ß",
    "好",
    "1",
    "12",
    "٣",
    "👍 ",
    "\u0007",
    "👍\u202E",
    "\u2066",
    "\uD83D",
    "👍".repeat(11),
  ];
  for (const emoji of refused) expect(emojiAllowed(emoji), JSON.stringify(emoji)).toBe(false);
  expect(emojiAllowed("👍".repeat(10))).toBe(true);
  expect(emojiAllowed("!".repeat(11))).toBe(false);
});

it("a topic has the form of a name and may be empty", () => {
  expect(topicFault("")).toBeUndefined();
  expect(topicFault("🦉".repeat(200))).toBeUndefined();
  expect(topicFault("🦉".repeat(201))).toBe("too_long");
  for (const topic of [" a", "a  b", "cafe\u0301", "a\nb", "a\u202Eb", "a\u200Bb", "\u200D"]) {
    expect(topicFault(topic), JSON.stringify(topic)).toBe("forbidden");
  }
  expect(topicFault(typedTopic("  cafe\u0301  au lait "))).toBeUndefined();
});

describe("steps", () => {
  const read = async (step: object) =>
    parseBody(EntryType.step, JSON.stringify({ previous: hash, step })).then((body) =>
      body.kind === "step" ? body.step : undefined,
    );

  it("are read as they were written", async () => {
    const keys = await someKeys();
    const { device } = keys;
    const steps: Step[] = [
      { type: "topic", topic: "Zürich" },
      { type: "lock", locked: true },
      { type: "slow", intervalMs: 3_600_000 },
      { type: "mute", device, untilMs: 0 },
      { type: "erase", device },
      { type: "unban", device },
      { type: "retention", ageMs: 0 },
      { type: "password", grant: device },
      { type: "role", role: "member", ...keys },
      { type: "transfer", ...keys },
    ];
    for (const step of steps) {
      expect(await parseBody(EntryType.step, stepBody(hash, step))).toEqual({ kind: "step", previous: hash, step });
    }
  });

  it("are refused out of bounds", async () => {
    const { device, signKey: sign_key, agreeKey: agree_key } = await someKeys();
    const refused: object[] = [
      { type: "later" },
      { type: "topic", topic: "a\nb" },
      { type: "lock", locked: 1 },
      { type: "slow", interval_ms: 3_600_001 },
      { type: "slow", interval_ms: -1 },
      { type: "mute", device, until_ms: 2 ** 53 },
      { type: "erase", device: hash },
      { type: "retention", age_ms: 3_599_999 },
      { type: "retention", age_ms: 315_360_000_001 },
      { type: "password", grant: hash },
      { type: "role", device, sign_key, agree_key, role: "king" },
      { type: "role", device: b64(random(16)), sign_key, agree_key, role: "owner" },
      { type: "transfer", device: b64(random(16)), sign_key, agree_key },
    ];
    for (const step of refused) await expect(read(step), JSON.stringify(step)).rejects.toThrow();
    expect(await read({ type: "retention", age_ms: 3_600_000 })).toEqual({ type: "retention", ageMs: 3_600_000 });
  });
});

describe("epoch records", () => {
  let state: RoomState;
  let record: EpochRecord;

  beforeAll(async () => {
    state = foundingState(await someKeys(), await someKeys());
    record = {
      epoch: 3,
      commitment: hash,
      previous: hash,
      previousKey: b64(random(60)),
      recipients: hash,
      cause: { type: "rotate" },
      recovery: undefined,
      state,
    };
  });
  const read = async (change: Partial<EpochRecord>) =>
    parseBody(EntryType.epochRecord, recordBody({ ...record, ...change }));

  it("are read as they were written", async () => {
    expect(await read({})).toEqual({ kind: "epoch_record", record });
    const banned = someDevices(200);
    const muted = someDevices(80).map((device) => ({ device, untilMs: 1 }));
    const cause = { type: "remove", devices: someDevices(50), ban: true } as const;
    const full = { ...record, cause, state: { ...state, banned, muted } };
    expect(await read(full)).toEqual({ kind: "epoch_record", record: full });
  });

  it("fit a body with every list at its limit", async () => {
    const people = await Promise.all(Array.from({ length: 20 }, someKeys));
    const admins = people
      .sort((a, b) => byDevice(a.device, b.device))
      .map((keys, at) => ({ ...keys, role: at === 0 ? "owner" : "moderator", recovery: false }) as const);
    const full = {
      admins,
      topic: "\u{1F989}".repeat(200),
      slowMs: 3_600_000,
      retentionMs: 315_360_000_000,
      historyFrom: 4_294_967_294,
      banned: someDevices(200),
      muted: someDevices(80).map((device) => ({ device, untilMs: Number.MAX_SAFE_INTEGER })),
    };
    const cause = { type: "remove", devices: someDevices(50), ban: false } as const;
    const made = { ...record, epoch: 4_294_967_295, cause, state: { ...state, ...full } };
    expect(utf8(recordBody(made)).length).toBeLessThanOrEqual(BODY_BYTES_MAX);
    expect(await read(made)).toEqual({ kind: "epoch_record", record: made });
  });

  it("are refused when lists are too long, out of order or contradict the rest", async () => {
    const admins = [...state.admins].reverse();
    const many = await Promise.all(Array.from({ length: 21 }, someKeys));
    const tooMany = many
      .sort((a, b) => byDevice(a.device, b.device))
      .map((keys) => ({ ...keys, role: "owner", recovery: false }) as const);
    const muted = someDevices(81).map((device) => ({ device, untilMs: 1 }));
    const [first = "", second = ""] = someDevices(2);
    const changes: Partial<EpochRecord>[] = [
      { state: { ...state, admins } },
      { state: { ...state, admins: tooMany } },
      { state: { ...state, banned: someDevices(201) } },
      { state: { ...state, banned: [second, first] } },
      { state: { ...state, banned: [first, first] } },
      { state: { ...state, muted } },
      { state: { ...state, muted: [{ device: first, untilMs: 0 }] } },
      { state: { ...state, topic: "a\nb" } },
      { state: { ...state, historyFrom: 3 } },
      { state: { ...state, admins: state.admins.filter(({ recovery }) => recovery) } },
      { state: { ...state, admins: state.admins.map((admin) => ({ ...admin, role: "moderator" })) } },
      { cause: { type: "remove", devices: [], ban: false } },
      { cause: { type: "remove", devices: someDevices(51), ban: false } },
      { cause: { type: "remove", devices: [second, first], ban: false } },
      { cause: { type: "created" } },
      { cause: { type: "history" } },
      { previous: undefined },
      { previousKey: undefined },
      { recipients: undefined },
      { epoch: 0 },
    ];
    for (const change of changes) await expect(read(change), JSON.stringify(change)).rejects.toThrow();
  });
});

it("devices are ordered by their bytes, not by their text", () => {
  const filled = (byte: number) => b64(new Uint8Array(16).fill(byte));
  const [low, middle, high] = [filled(0x00), filled(0xf8), filled(0xff)];
  expect([low[0], middle[0], high[0]]).toEqual(["A", "-", "_"]);
  expect(sortedDevices([high, low, middle, low])).toEqual([low, middle, high]);
  expect(byDevice(low, low)).toBe(0);
});
