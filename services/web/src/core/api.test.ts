import { describe, expect, it } from "vitest";

import { Api, ApiError } from "./api.ts";
import { fromB64, b64 } from "./base64url.ts";
import { concat, u32, u64, utf8, zeros } from "./bytes.ts";
import { generateDevice, verifyBytes } from "./crypto/device.ts";

const ROOM = b64(zeros(16));
const ORIGIN = "https://chat.example";

type Answer = (method: string, path: string, body: string) => Response | undefined;

/** A server that answers by `answers`, the first that has something to say; records what it was asked. */
async function against(...answers: Answer[]) {
  const asked: { call: string; body: string }[] = [];
  const device = await generateDevice();
  const api = new Api(device, ORIGIN, async (input, init) => {
    const path = String(input).slice(ORIGIN.length);
    const [method, body] = [init?.method ?? "GET", String(init?.body ?? "")];
    asked.push({ call: `${method} ${path}`, body });
    for (const answer of answers) {
      const response = answer(method, path, body);
      if (response !== undefined) return response;
    }
    throw new TypeError("network down");
  });
  return { api, asked, device };
}

const json = (value: unknown, status = 200) => new Response(JSON.stringify(value), { status });
const refused = (code: string, retry: string, status = 401) => json({ code, message: "x", retry }, status);
const nonce: Answer = (_, path) => (path === "/api/nonce" ? json({ nonce: "abc", expires_in_ms: 1 }) : undefined);

describe("a call whose token has ended", () => {
  it("is made again after one renewal that all callers share", async () => {
    let renewed = 0;
    const { api, asked, device } = await against(
      nonce,
      (_, path) => (path === "/api/token" ? (renewed++, json({ device: "", token_expires_at_ms: 1 })) : undefined),
      (_, path) => (path === "/api/rooms" && renewed === 0 ? refused("token_invalid", "sign_in") : undefined),
      () => json({ rooms: [] }),
    );
    const answers = await Promise.all([api.rooms(), api.rooms()]);
    expect(answers).toEqual([{ rooms: [] }, { rooms: [] }]);
    expect(renewed).toBe(1);
    const { sign_in } = JSON.parse(asked.find(({ call }) => call === "POST /api/token")?.body ?? "{}");
    const signed = concat(utf8("snug/v1/sign-in"), zeros(32), Uint8Array.of(0, 3), utf8(`abc${ORIGIN}`));
    expect(await verifyBytes(device.signKey, fromB64(sign_in.signature), signed)).toBe(true);
    expect(sign_in).toMatchObject({ origin: ORIGIN, nonce: "abc", bearer: false });
  });

  it("fails when the renewal is refused, without asking for ever", async () => {
    const { api, asked } = await against(
      nonce,
      (_, path) => (path === "/api/token" ? refused("device_unknown", "never", 403) : undefined),
      () => refused("token_missing", "sign_in"),
    );
    await expect(api.rooms()).rejects.toMatchObject({ code: "device_unknown", retry: "never" });
    expect(asked.length).toBe(3);
  });
});

it("no answer, or one that is not the server's, is offline", async () => {
  const down = await against();
  await expect(down.api.lookup("x")).rejects.toMatchObject({ code: "offline", retry: "later" });
  const portal = await against(() => new Response("<html>", { status: 200 }));
  await expect(portal.api.lookup("x")).rejects.toMatchObject({ code: "offline" });
  const proxy = await against(() => new Response("<html>", { status: 502 }));
  await expect(proxy.api.lookup("x")).rejects.toMatchObject({ code: "unavailable" });
});

it("an error carries what the server says about it", async () => {
  const body = { code: "room_name_taken", message: "x", retry: "changed", free_variant: "Book Club 2" };
  const { api } = await against(() => json(body, 409));
  await expect(api.lookup("x")).rejects.toMatchObject({ code: "room_name_taken", freeVariant: "Book Club 2" });
  await expect(api.lookup("x")).rejects.toBeInstanceOf(ApiError);
});

describe("a page of history", () => {
  const record = (bytes: Uint8Array) => concat(u32(bytes.length), bytes);
  const entry = (seq: number) => record(concat(Uint8Array.of(1), u64(seq), u64(5), zeros(348)));
  const page = (from: number, to: number, seqs: number[]) => {
    const head = utf8(JSON.stringify({ history: ROOM, head: 9, from, to }));
    return new Response(concat(record(head), ...seqs.map(entry)));
  };

  it("is its range and the later entries about it", async () => {
    const { api, asked } = await against(() => page(3, 5, [3, 4, 5, 8]));
    const got = await api.history(ROOM, 6, 50);
    expect([got.entries.map(({ seq }) => seq), got.about.map(({ seq }) => seq)]).toEqual([[3, 4, 5], [8]]);
    expect(asked[0]?.call).toBe(`GET /api/rooms/${ROOM}/history?before=6&limit=50`);
  });

  it("is refused when its range has gaps or ends elsewhere", async () => {
    for (const [from, to, seqs] of [
      [3, 5, [3, 5]],
      [3, 5, [3, 5, 4]],
      [3, 4, [3, 4]],
    ] as const) {
      const { api } = await against(() => page(from, to, [...seqs]));
      await expect(api.history(ROOM, 6, 50)).rejects.toMatchObject({ code: "offline" });
    }
    const empty = await against(() => page(1, 0, []));
    expect((await empty.api.history(ROOM, 1, 50)).entries).toEqual([]);
  });

  it("names members page by page", async () => {
    const { api } = await against((_, path) =>
      path.endsWith("/members")
        ? json({ members: [{ device: "a" }], more: true })
        : json({ members: [{ device: "b" }], more: false }),
    );
    expect((await api.members(ROOM)).map(({ device }) => device)).toEqual(["a", "b"]);
  });
});
