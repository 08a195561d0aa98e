import { readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

import { b64, fromB64 } from "../base64url.ts";
import { Chain } from "../chain/chain.ts";
import { namesRecipients } from "../chain/eligible.ts";
import { sameState, parseState } from "../chain/state.ts";
import { emojiAllowed } from "../emoji.ts";
import { chainEntry } from "../testing/vectors-chain.ts";
import { type Vectors } from "../testing/vectors.ts";
import { topicFault } from "../text.ts";
import { deviceFromSeeds, deviceId } from "./device.ts";
import { openRecord, previousRoomKey, RecordRefused } from "./epoch-record.ts";
import {
  moveCode,
  moveCommitment,
  moveId,
  moveLink,
  moveNonce,
  moveOffer,
  moveReveal,
  openAnswer,
  openNonce,
  openOffer,
  openReveal,
  parseMove,
  sealAnswer,
} from "./move.ts";
import { hkdfKey } from "./primitives.ts";
import { openRoomKey, sealRoomKey } from "./sealed-key.ts";

const folder = new URL("../../../../protocol/vectors/", import.meta.url);

describe.each(["web-v1.json", "sdk-v1.json"])("what governs a room in the vectors of %s is understood here", (name) => {
  const vectors = JSON.parse(readFileSync(new URL(name, folder), "utf8")) as Vectors;
  const device = deviceFromSeeds(fromB64(vectors.device.sign_seed), fromB64(vectors.device.agree_secret));

  it("a new epoch's record opens and lets newcomers read back", async () => {
    expect(vectors.epoch_records.length).toBeGreaterThan(0);
    for (const vector of vectors.epoch_records) {
      const [room, roomKey] = [fromB64(vector.room), await hkdfKey(fromB64(vector.room_key))];
      const envelope = fromB64(vector.envelope);
      const { record } = (await openRecord(roomKey, room, vector.epoch, envelope)).content;
      expect(await namesRecipients(record, vector.recipients)).toBe(true);
      expect(await namesRecipients(record, vector.recipients.slice(1))).toBe(false);
      const before = await previousRoomKey(roomKey, room, record);
      expect(before && b64(before)).toBe(vector.previous_room_key);
      expect(b64(fromB64(record.previousKey ?? "").subarray(0, 12))).toBe(vector.previous_key_iv);
      const other = await hkdfKey(fromB64(vector.previous_room_key));
      await expect(openRecord(other, room, vector.epoch, envelope)).rejects.toThrow(RecordRefused);
    }
  });

  it("a room key sealed to a device opens, and is sealed to the same bytes", async () => {
    expect(vectors.sealed_keys.length).toBeGreaterThan(0);
    for (const { room, epoch, room_key, sealed } of vectors.sealed_keys) {
      const own = await device;
      const [roomId, bytes] = [fromB64(room), fromB64(sealed)];
      expect(b64(await openRoomKey(own, roomId, epoch, bytes))).toBe(room_key);
      const to = { device: own.id, agreeKey: b64(own.agreeKey) };
      expect(b64(await sealRoomKey(to, roomId, epoch, fromB64(room_key)))).toBe(sealed);
    }
  });

  it("a chain is folded to the same states, with the same faults", async () => {
    expect(vectors.chains.length).toBeGreaterThan(0);
    for (const vector of vectors.chains) {
      const people = await Promise.all(
        vector.people.map(async ({ sign_key, agree_key }) => {
          const signKey = fromB64(sign_key, 32);
          return [await deviceId({ signKey, agreeKey: fromB64(agree_key, 32) }), signKey] as const;
        }),
      );
      let chain: Chain | undefined;
      for (const { name: which, seq, envelope, fault, newest, state } of vector.entries) {
        const entry = await chainEntry(vector.room, vector.room_keys, new Map(people), seq, fromB64(envelope));
        let found: string | null = null;
        if (chain === undefined) chain = Chain.found(entry);
        else {
          const outcome = chain.apply(entry);
          if (outcome.kind === "fault") found = outcome.fault;
        }
        expect([found, chain.newest.seq], which).toEqual([fault, newest]);
        expect(sameState(chain.state, await parseState(state)), which).toBe(true);
      }
      const faults = vector.entries.filter(({ fault }) => fault !== null).length;
      expect(faults).toBeGreaterThanOrEqual(5);
      expect(vector.entries.length - faults).toBeGreaterThanOrEqual(10);
    }
  });

  it("a move's link, parts, code and answer", async () => {
    expect(vectors.moves.length).toBeGreaterThan(0);
    for (const vector of vectors.moves) {
      const [own, secret] = [await device, fromB64(vector.secret)];
      expect(moveLink(vector.link.split("/#")[0] ?? "", secret)).toBe(vector.link);
      expect(parseMove(vector.link)).toEqual(secret);
      expect(b64(await moveId(secret))).toBe(vector.id);
      const [nonceOfNew, nonce] = [fromB64(vector.nonces[0]), fromB64(vector.nonces[1])];
      const revealed = { signKey: own.signKey, agreeKey: own.agreeKey, nonce: nonceOfNew };
      const [agreed, commitment] = [{ revealed, nonce }, await moveCommitment(revealed)];
      expect(b64(await moveOffer(secret, revealed))).toBe(vector.offer);
      expect(await openOffer(secret, fromB64(vector.offer))).toEqual(commitment);
      expect(b64(await moveNonce(secret, commitment, nonce))).toBe(vector.nonce);
      expect(await openNonce(secret, commitment, fromB64(vector.nonce))).toEqual(nonce);
      expect(b64(await moveReveal(secret, agreed))).toBe(vector.reveal);
      expect(await openReveal(secret, commitment, nonce, fromB64(vector.reveal))).toEqual(revealed);
      expect(await openReveal(secret, nonce, nonce, fromB64(vector.reveal))).toBeUndefined();
      expect(await openReveal(secret, commitment, commitment, fromB64(vector.reveal))).toBeUndefined();
      expect(await moveCode(secret, agreed)).toBe(vector.code);
      const answer = await openAnswer(secret, own, fromB64(vector.answer));
      expect(answer).toEqual(JSON.parse(vector.answer_plain));
      if (vector.ikm_e === undefined) continue;
      expect(JSON.stringify(answer)).toBe(vector.answer_plain);
      expect(b64(await sealAnswer(secret, own, answer, fromB64(vector.ikm_e)))).toBe(vector.answer);
    }
  });

  it("which reactions and topics are taken", () => {
    for (const text of vectors.emoji.accepted) expect(emojiAllowed(text), JSON.stringify(text)).toBe(true);
    for (const text of vectors.emoji.refused) expect(emojiAllowed(text), JSON.stringify(text)).toBe(false);
    for (const text of vectors.topics.accepted) expect(topicFault(text), JSON.stringify(text)).toBeUndefined();
    for (const text of vectors.topics.refused) expect(topicFault(text), JSON.stringify(text)).toBeDefined();
    const lists = [vectors.emoji, vectors.topics].flatMap(({ accepted, refused }) => [accepted, refused]);
    for (const list of lists) expect(list.length).toBeGreaterThanOrEqual(5);
  });
});
