import { readFileSync, writeFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

import { b64, fromB64 } from "../base64url.ts";
import { parseBody } from "../bodies.ts";
import { webVectors, type Vectors } from "../testing/vectors.ts";
import { hashKdf1 } from "./argon2id.ts";
import { deviceFromSeeds, verifyBytes } from "./device.ts";
import { EntryType, envelopeHash, openEnvelope, sealEnvelope, streamKey, verifyOpened } from "./envelope.ts";
import { verifyEpochRecord } from "./epoch-record.ts";
import { grantKeys, openGrant, passwordIkm, sealGrant } from "./grant.ts";
import { inviteFragment, inviteLink, parseInvite } from "./invite-link.ts";
import { hkdfKey } from "./primitives.ts";
import { parseRecovery, recoveryDevice, recoveryText } from "./recovery.ts";
import { roomKeyCommitment } from "./room-key.ts";
import { signInSignature } from "./sign-in.ts";

const folder = new URL("../../../../protocol/vectors/", import.meta.url);
const file = (name: string) => new URL(name, folder);
const read = (name: string) => JSON.parse(readFileSync(file(name), "utf8")) as Vectors;

const made = JSON.stringify(await webVectors(), null, 1) + "\n";
if (process.env["UPDATE_VECTORS"] === "1") writeFileSync(file("web-v1.json"), made);

/** Whether a reader in the vectors' room who knows the device's keys takes `envelope` for an entry. */
async function accepted(vectors: Vectors, envelope: string): Promise<boolean> {
  const roomKey = await hkdfKey(fromB64(vectors.room_key_commitment.room_key));
  try {
    const opened = await openEnvelope(fromB64(envelope), (_, header) => streamKey(roomKey, header));
    await parseBody(opened.header.type, opened.body);
    return (
      opened.header.room === vectors.room_key_commitment.room &&
      (await verifyOpened(opened, fromB64(vectors.device.sign_key)))
    );
  } catch {
    return false;
  }
}

describe.each(["web-v1.json", "sdk-v1.json"])("the vectors of %s are understood here", (name) => {
  const vectors = read(name);

  it("device and recovery keys", async () => {
    const { device, recovery } = vectors;
    const made = await deviceFromSeeds(fromB64(device.sign_seed), fromB64(device.agree_secret));
    expect([made.id, b64(made.signKey), b64(made.agreeKey)]).toEqual([
      device.device,
      device.sign_key,
      device.agree_key,
    ]);
    const secret = fromB64(recovery.secret);
    expect(recoveryText(secret)).toBe(recovery.text);
    expect(parseRecovery(recovery.text)).toEqual(secret);
    const recovered = await recoveryDevice(secret);
    expect([b64(recovered.signKey), b64(recovered.agreeKey)]).toEqual([recovery.sign_key, recovery.agree_key]);
  });

  it("the password grant", async () => {
    const vector = vectors.password_grant;
    expect(vector.password.normalize("NFC")).not.toBe(vector.password);
    const [room, grant] = [fromB64(vector.room), fromB64(vector.grant)];
    const ikm = await passwordIkm(vector.password, room, grant, hashKdf1);
    expect(b64(ikm)).toBe(vector.ikm);
    await expectGrant(vector, ikm);
  }, 30_000);

  it("the invite grant and its link", async () => {
    const vector = vectors.invite_grant;
    await expectGrant(vector, fromB64(vector.secret));
    const invite = { room: fromB64(vector.room), grant: fromB64(vector.grant), secret: fromB64(vector.secret) };
    expect(inviteFragment(invite)).toBe(`#join=${vector.link_fragment}`);
    expect(parseInvite(inviteLink("https://chat.example", invite))).toEqual(invite);
  });

  it("the sign-in", async () => {
    const { sign_in, device } = vectors;
    const keys = await deviceFromSeeds(fromB64(device.sign_seed), fromB64(device.agree_secret));
    const at = { room: fromB64(sign_in.room), grant: fromB64(sign_in.grant) };
    expect(b64(await signInSignature(keys, at, sign_in.nonce, sign_in.origin))).toBe(sign_in.signature);
  });

  it("the commitment to the room key", async () => {
    const { room, epoch, room_key, commitment } = vectors.room_key_commitment;
    expect(b64(await roomKeyCommitment(await hkdfKey(fromB64(room_key)), fromB64(room), epoch))).toBe(commitment);
  });

  it("every envelope opens, verifies, and is sealed to the same bytes", async () => {
    const device = await deviceFromSeeds(fromB64(vectors.device.sign_seed), fromB64(vectors.device.agree_secret));
    expect(new Set(vectors.envelopes.map((vector) => vector.type))).toEqual(new Set(Object.values(EntryType)));
    for (const vector of vectors.envelopes) {
      const roomKey = await hkdfKey(fromB64(vector.room_key));
      const envelope = fromB64(vector.envelope);
      expect(b64(await envelopeHash(envelope)), vector.name).toBe(vector.hash);
      const opened = await openEnvelope(envelope, (_, header) => streamKey(roomKey, header));
      const { header, prev } = opened;
      expect(
        {
          type: header.type,
          room: header.room,
          epoch: header.epoch,
          device: header.device,
          instance: header.instance,
          counter: header.counter,
          target_seq: header.targetSeq,
          prev_seq: prev.seq,
          prev_hash: b64(prev.hash),
          sent_at_ms: opened.sentAtMs,
          body: opened.body,
        },
        vector.name,
      ).toEqual({
        type: vector.type,
        room: vector.room,
        epoch: vector.epoch,
        device: vector.device,
        instance: vector.instance,
        counter: vector.counter,
        target_seq: vector.target_seq,
        prev_seq: vector.prev_seq,
        prev_hash: vector.prev_hash,
        sent_at_ms: vector.sent_at_ms,
        body: vector.body,
      });
      expect(await verifyOpened(opened, device.signKey), vector.name).toBe(true);
      await expect(parseBody(header.type, opened.body), vector.name).resolves.toBeDefined();
      const again = await sealEnvelope(roomKey, {
        type: vector.type,
        room: fromB64(vector.room),
        epoch: vector.epoch,
        device,
        deviceBytes: fromB64(vector.device),
        instance: fromB64(vector.instance),
        counter: vector.counter,
        targetSeq: vector.target_seq,
        prev: { seq: vector.prev_seq, hash: fromB64(vector.prev_hash) },
        sentAtMs: vector.sent_at_ms,
        body: vector.body,
      });
      expect(b64(again), vector.name).toBe(vector.envelope);
    }
  });

  it("the epoch record fits its grant", async () => {
    const vector = vectors.envelopes.find(({ type }) => type === EntryType.epochRecord);
    if (vector === undefined) throw new Error("the vectors have no epoch record");
    const roomKey = await hkdfKey(fromB64(vector.room_key));
    const [room, hash, envelope] = [fromB64(vector.room), fromB64(vector.hash), fromB64(vector.envelope)];
    const { record } = (await verifyEpochRecord(roomKey, room, 0, hash, envelope)).content;
    expect(record.commitment).toBe(vectors.room_key_commitment.commitment);
    expect(record.state.admins.map(({ recovery }) => recovery)).toContain(true);
    await expect(verifyEpochRecord(roomKey, room, 0, new Uint8Array(32), envelope)).rejects.toThrow();
  });

  it("what must be refused is refused", async () => {
    expect(vectors.refused.length).toBeGreaterThanOrEqual(6);
    for (const { name: which, envelope } of vectors.refused) {
      expect(await accepted(vectors, envelope), which).toBe(false);
    }
  });
});

async function expectGrant(vector: Vectors["password_grant"] | Vectors["invite_grant"], ikm: Uint8Array<ArrayBuffer>) {
  const [room, grant] = [fromB64(vector.room), fromB64(vector.grant)];
  const keys = await grantKeys(ikm, room, grant);
  expect([b64(keys.auth), b64(keys.kek), b64(keys.commit)]).toEqual([vector.auth, vector.kek, vector.commit]);
  const content = {
    epoch: vector.epoch,
    roomKey: fromB64(vector.room_key),
    recordHash: fromB64(vector.record_hash),
  };
  const blob = fromB64(vector.blob, 129);
  expect(await openGrant(keys, room, grant, blob)).toEqual(content);
  expect(b64(await sealGrant(keys, room, grant, content, fromB64(vector.iv)))).toBe(vector.blob);
  const otherCommit = { ...keys, commit: new Uint8Array(32) };
  await expect(openGrant(otherCommit, room, grant, blob)).rejects.toThrow("the grant does not open");
  const damaged = blob.slice();
  damaged[128] = (damaged[128] ?? 0) ^ 1;
  await expect(openGrant(keys, room, grant, damaged)).rejects.toThrow("the grant does not open");
}

it("web-v1.json is what this code makes", () => {
  // Not a comparison by toBe: its difference would fill the screen.
  const fresh = readFileSync(file("web-v1.json"), "utf8") === made;
  expect(fresh, "run `UPDATE_VECTORS=1 npm test`").toBe(true);
});

it("a signature by another key does not verify", async () => {
  const vectors = read("web-v1.json");
  expect(await verifyBytes(fromB64(vectors.recovery.sign_key), new Uint8Array(64), new Uint8Array(3))).toBe(false);
});
