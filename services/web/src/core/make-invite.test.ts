import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { ApiError } from "./api.ts";
import { b64, fromB64 } from "./base64url.ts";
import { generateDevice, type Device } from "./crypto/device.ts";
import { grantKeys, openGrant } from "./crypto/grant.ts";
import { parseInvite } from "./crypto/invite-link.ts";
import { makeInvite } from "./make-invite.ts";
import { RoomClient } from "./testing/room-client.ts";
import { author, RoomServer, type Author } from "./testing/room-server.ts";
import { type CreateInvite } from "../protocol.gen.ts";

let server: RoomServer;
let ana: Author;
let recovery: Device;
let page: RoomClient;
/** The invites that are good, by their grant. */
let invites: Map<string, CreateInvite>;
/** What happens while an invite is on its way to the server. */
let meanwhile: () => Promise<unknown>;

beforeEach(async () => {
  [ana, recovery] = [author(await generateDevice()), await generateDevice()];
  server = await RoomServer.found(ana, recovery);
  page = await RoomClient.enter(server);
  await page.connect();
  [invites, meanwhile] = [new Map(), () => Promise.resolve()];
});

afterEach(() => page.close());

function invite() {
  const api = {
    createInvite: async (_: string, wanted: CreateInvite) => {
      await meanwhile();
      invites.set(wanted.grant, wanted);
      return { grant: wanted.grant, made_by: page.device.id, created_at_ms: 0, uses: 0 };
    },
    revokeInvite: (_: string, grant: string) => Promise.resolve(void invites.delete(grant)),
  };
  const { local } = page.store.identity;
  const world = { api, local, origin: "https://chat.example" };
  return makeInvite(world, page.room, { expiresInMs: null, usesMax: null });
}

/** The epoch whose key a link leads to. */
async function leadsTo(link: string): Promise<number> {
  const secret = parseInvite(link);
  const made = secret && invites.get(b64(secret.grant));
  if (secret === undefined || made === undefined) throw new Error("the link leads nowhere");
  const keys = await grantKeys(secret.secret, secret.room, secret.grant);
  return (await openGrant(keys, secret.room, secret.grant, fromB64(made.blob))).epoch;
}

const rotate = (...to: Device[]) => server.rekey(ana, { type: "rotate" }, [ana.device, recovery, ...to]);

describe("an invite", () => {
  it("holds the key of the epoch that began before the page heard of it", async () => {
    server.listeners.clear();
    meanwhile = async () => {
      meanwhile = () => Promise.resolve();
      await rotate(page.device);
    };
    const { link } = await invite();
    expect([await leadsTo(link), invites.size, page.room.keys.epoch]).toEqual([1, 1, 1]);
  });

  it("does not go by a chain that was being fetched before it", async () => {
    server.listeners.clear();
    const answered: (() => void)[] = [];
    server.late = (call) =>
      call === "chain" ? new Promise((resolve) => answered.push(() => resolve(true))) : Promise.resolve();
    const early = page.room.chain.load();
    await vi.waitFor(() => expect(answered.length).toBe(1));
    server.late = () => Promise.resolve();
    meanwhile = async () => {
      meanwhile = () => Promise.resolve();
      await rotate(page.device);
      setTimeout(() => answered[0]?.(), 0);
    };
    const { link } = await invite();
    await early;
    expect(await leadsTo(link)).toBe(1);
  });

  it("is not made while the newest key is missing, and one that was made before that was known is ended", async () => {
    server.listeners.clear();
    meanwhile = () => (server.epoch === 0 ? rotate() : Promise.resolve());
    await expect(invite()).rejects.toMatchObject({ code: "key_missing" });
    expect(invites.size).toBe(0);
    meanwhile = () => Promise.reject(new Error("it was asked for"));
    await expect(invite()).rejects.toMatchObject({ code: "key_missing" });
  });

  it("is given up, and leaves none behind, when the key is replaced all the time", async () => {
    server.listeners.clear();
    meanwhile = () => rotate(page.device);
    await expect(invite()).rejects.toMatchObject({ code: "chain_moved" });
    expect([invites.size, server.epoch]).toEqual([0, 3]);
  });

  it("leaves none behind when it cannot be told whether it is good", async () => {
    server.down = (call) => call === "chain";
    await expect(invite()).rejects.toThrow(ApiError);
    expect(invites.size).toBe(0);
  });
});
