import "fake-indexeddb/auto";

import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { b64, fromB64 } from "./base64url.ts";
import { messageBody, profileBody } from "./bodies.ts";
import { type Bytes } from "./bytes.ts";
import { generateDevice, type Device } from "./crypto/device.ts";
import { EntryType } from "./crypto/envelope.ts";
import { rawRoomKey } from "./crypto/room-key.ts";
import { evidence } from "./evidence.ts";
import { RoomClient } from "./testing/room-client.ts";
import { author, RoomServer, type Author } from "./testing/room-server.ts";

const NOW_MS = 1_800_000_000_000;
const SECRETS = ["we meet at the old mill", "Ana of the mill", "who brings the ladder"];

let server: RoomServer;
let ana: Author;
let recovery: Device;
let page: RoomClient;

beforeEach(async () => {
  [ana, recovery] = [author(await generateDevice()), await generateDevice()];
  server = await RoomServer.found(ana, recovery);
  await server.say(ana, EntryType.profile, profileBody(SECRETS[1] ?? "", true, ana.device));
  page = await RoomClient.enter(server);
  await page.connect();
});

afterEach(() => page.close());

const say = () => server.say(ana, EntryType.message, messageBody(SECRETS[0] ?? ""));
const exported = () => evidence(page.room, NOW_MS);

/** The bytes in every way of writing them that a JSON text may have. */
function written(bytes: Bytes): string[] {
  const raw = Buffer.from(bytes);
  return [b64(bytes), raw.toString("base64").replace(/=+$/, ""), raw.toString("hex"), [...bytes].join(",")];
}

async function isSafeToShow(text: string): Promise<void> {
  for (const secret of SECRETS) {
    expect(text).not.toContain(secret);
    for (const form of written(new TextEncoder().encode(secret))) expect(text).not.toContain(form);
  }
  const kept = await Promise.all(
    page.room.record.keys.map((key) => rawRoomKey(page.store.identity.local, server.bytes, key)),
  );
  expect(kept.length).toBeGreaterThan(0);
  for (const key of [...kept, ...server.keys]) {
    for (const form of written(key)) expect(text).not.toContain(form);
  }
}

/** What is shown of each finding: its code, and the places and envelopes that show it. */
function found(text: string) {
  const { violations } = JSON.parse(text) as {
    violations: { code: string; seq: number; entries: { seq: number; hash: string; envelope: string }[] }[];
  };
  return violations.map(({ code, seq, entries }) => ({ code, seq, shown: entries }));
}

it("holds the very envelopes that show what is wrong, and nothing that opens them", async () => {
  const { envelope } = server.raw(await say());
  const replayed = await server.append(envelope);
  await page.settled();
  const text = exported();
  const [finding, ...others] = found(text);
  expect(others).toEqual([]);
  expect([finding?.code, finding?.seq]).toEqual(["counter", replayed]);
  expect(finding?.shown.map(({ seq }) => seq)).toEqual([replayed - 1, replayed]);
  for (const { seq, hash, envelope } of finding?.shown ?? []) {
    const entry = server.log[seq - 1];
    expect([hash, fromB64(envelope)]).toEqual([entry?.hash, entry?.envelope]);
  }
  await isSafeToShow(text);
});

it("says of which room and history it is, whose device saw it, and when", async () => {
  const { envelope } = server.raw(await say());
  await server.append(envelope);
  await page.settled();
  const { violations, ...where } = JSON.parse(exported()) as Record<string, unknown>;
  expect(where).toEqual({
    format: "snug/evidence-v1",
    room: server.id,
    history: server.history,
    device: page.device.id,
    exported_at_ms: NOW_MS,
  });
  expect(violations).toMatchObject([{ noticed_at_ms: page.room.noticedAtMs[0] }]);
});

it("holds the hash of an own message that was left out, and not its text", async () => {
  server.tamper = (call, entries) => (call === "live" ? [] : entries);
  await page.room.sending.send(SECRETS[2] ?? "");
  await vi.waitFor(() => expect(page.room.outbox.items[0]?.state).toBe("acknowledged"));
  const own = server.log.at(-1);
  server.tamper = (_, entries) => entries;
  await say();
  await vi.waitFor(() => expect(page.room.log.violations.length).toBeGreaterThan(0));
  const text = exported();
  expect(text).toContain(own?.hash);
  await isSafeToShow(text);
});

it("holds what shows that a removal was withheld, across the epochs", async () => {
  const record = server.head + 1;
  server.tamper = (call, entries) => {
    if (call === "live") return entries.filter(({ seq }) => seq !== record);
    return entries.filter(({ seq }) => seq < record);
  };
  const cause = { type: "remove", devices: [(await generateDevice()).id], ban: false } as const;
  await server.rekey(ana, cause, [ana.device, recovery, page.device]);
  const next = await say();
  await vi.waitFor(() => expect(found(exported()).map(({ code }) => code)).toContain("authority"));
  const text = exported();
  const shown = found(text).find(({ code }) => code === "authority")?.shown ?? [];
  expect(shown.at(-1)).toMatchObject({ seq: next, envelope: b64(server.raw(next).envelope) });
  await isSafeToShow(text);
});
