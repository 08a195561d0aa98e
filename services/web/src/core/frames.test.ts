import { readdirSync, readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

import { b64, fromB64 } from "./base64url.ts";
import { concat, u32, utf8 } from "./bytes.ts";
import { clientFrame, parseEntryFrame, parseServerFrame, roomOfEnvelope, sendFrame, splitLogPage } from "./frames.ts";
import { type ClientFrame } from "../protocol.gen.ts";

const folder = new URL("../../../protocol/golden/", import.meta.url);
const golden = readdirSync(folder).filter((name) => name.endsWith(".json"));
const read = (name: string) => readFileSync(new URL(name, folder), "utf8");
const readBinary = (name: string) =>
  JSON.parse(read(name)) as { id: number; seq: number; at_ms: number; envelope: string; frame: string };

describe("golden frames", () => {
  it("are there", () => {
    expect(golden.filter((name) => name.startsWith("server.")).length).toBeGreaterThanOrEqual(9);
  });

  it.each(golden.filter((name) => name.startsWith("server.")))("%s is read", (name) => {
    expect(parseServerFrame(read(name))).toEqual(JSON.parse(read(name)));
  });

  it.each(golden.filter((name) => name.startsWith("client.")))("%s is what this client writes", (name) => {
    const frame = JSON.parse(read(name)) as ClientFrame;
    expect(["hello", "follow", "unfollow", "typing", "heartbeat"]).toContain(frame.type);
    expect(clientFrame(frame)).toBe(JSON.stringify(JSON.parse(read(name))));
  });

  it.each(golden.filter((name) => name.startsWith("binary.entry")))("%s is read", (name) => {
    const { frame, seq, at_ms, envelope } = readBinary(name);
    const entry = parseEntryFrame(fromB64(frame));
    expect([entry.seq, entry.atMs, b64(entry.envelope)]).toEqual([seq, at_ms, envelope]);
    expect(roomOfEnvelope(entry.envelope)).toBe("AQEBAQEBAQEBAQEBAQEBAQ");
  });

  it("binary.send.json is what this client writes", () => {
    const { frame, id, envelope } = readBinary("binary.send.json");
    expect(b64(sendFrame(id, fromB64(envelope)))).toBe(frame);
  });
});

it("frames of unknown types are left alone, malformed ones refused", () => {
  expect(parseServerFrame('{"type":"later","x":1}')).toBeUndefined();
  expect(parseServerFrame('{"type":"toString"}')).toBeUndefined();
  for (const text of ["", "[]", "null", "3", '{"type":3}', '{"type":"sent","id":-1}', '{"type":"heartbeat"}']) {
    expect(() => parseServerFrame(text), text).toThrow();
  }
  expect(() => parseEntryFrame(Uint8Array.of(9))).toThrow();
});

it("a log page is its head and its entries", () => {
  const record = (bytes: Uint8Array) => concat(u32(bytes.length), bytes);
  const { frame, envelope } = readBinary("binary.entry.json");
  const page = concat(record(utf8('{"from":42}')), record(fromB64(frame)));
  const split = splitLogPage(page);
  expect(split.head).toEqual({ from: 42 });
  expect(split.entries.map((entry) => b64(entry.envelope))).toEqual([envelope]);
  for (let cut = 0; cut < page.length; cut++) {
    if (cut !== 15) expect(() => splitLogPage(page.subarray(0, cut)), `${cut}`).toThrow();
  }
});
