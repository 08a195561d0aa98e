//! Vectors of what governs a room: the chain, sealed keys, moves, and which short texts are taken.

import { b64 } from "../base64url.ts";
import { type Bytes } from "../bytes.ts";
import { sortedDevices } from "../chain/order.ts";
import { foundingState } from "../chain/state.ts";
import { envelopeHash } from "../crypto/envelope.ts";
import { deviceKeys, sealNextRecord } from "../crypto/epoch-record.ts";
import {
  moveCode,
  moveCommitment,
  moveId,
  moveLink,
  moveNonce,
  moveOffer,
  moveReveal,
  sealAnswer,
} from "../crypto/move.ts";
import { hkdfKey } from "../crypto/primitives.ts";
import { sealRoomKey } from "../crypto/sealed-key.ts";
import { fixed, fixedId, keyOf, person, previousIv, type Scene } from "./scene.ts";
import { chainVector, type ChainVector } from "./vectors-chain.ts";

export interface RecordVector {
  room: string;
  epoch: number;
  room_key: string;
  previous_room_key: string;
  previous_key_iv: string;
  recipients: string[];
  envelope: string;
}

/** A room key sealed to `device`. */
export interface SealedKeyVector {
  room: string;
  epoch: number;
  room_key: string;
  sealed: string;
}

/** A move to `device`. */
export interface MoveVector {
  secret: string;
  link: string;
  id: string;
  /** The new device's nonce and the old one's. */
  nonces: [string, string];
  /** The parts in the mailbox, in their order. */
  offer: string;
  nonce: string;
  reveal: string;
  code: string;
  answer_plain: string;
  ikm_e?: string;
  answer: string;
}

export interface Accepted {
  accepted: string[];
  refused: string[];
}

export interface GoverningVectors {
  epoch_records: RecordVector[];
  sealed_keys: SealedKeyVector[];
  chains: ChainVector[];
  moves: MoveVector[];
  emoji: Accepted;
  topics: Accepted;
}

/** The record of epoch 1 upon the founding record `first`, which is at seq 1. */
async function epochRecord(scene: Scene, first: Bytes): Promise<RecordVector> {
  const hash = await envelopeHash(first);
  const recipients = sortedDevices([scene.device.id, scene.recovery.id, (await person("moderator")).id]);
  const envelope = await sealNextRecord(
    {
      room: scene.room,
      instance: await fixedId("instance of epoch 1"),
      signer: scene.device,
      epoch: 1,
      roomKey: await hkdfKey(await keyOf(scene, 1)),
      previousKey: scene.roomKey,
      cause: { type: "rotate" },
      state: foundingState(await deviceKeys(scene.device), await deviceKeys(scene.recovery)),
      newest: { seq: 1, hash: b64(hash) },
      prev: { seq: 1, hash },
      recipients,
      sentAtMs: scene.sentAtMs + 60_000,
    },
    await previousIv(1),
  );
  return {
    room: b64(scene.room),
    epoch: 1,
    room_key: b64(await keyOf(scene, 1)),
    previous_room_key: b64(scene.roomKey),
    previous_key_iv: b64(await previousIv(1)),
    recipients,
    envelope: b64(envelope),
  };
}

async function sealedKey(scene: Scene): Promise<SealedKeyVector> {
  const roomKey = await keyOf(scene, 1);
  const to = { device: scene.device.id, agreeKey: b64(scene.device.agreeKey) };
  return {
    room: b64(scene.room),
    epoch: 1,
    room_key: b64(roomKey),
    sealed: b64(await sealRoomKey(to, scene.room, 1, roomKey)),
  };
}

async function moving(scene: Scene): Promise<MoveVector> {
  const [secret, ikm] = [await fixed("move"), await fixed("ephemeral of the answer")];
  const join = new Uint8Array([...scene.room, ...(await fixedId("invite grant")), ...(await fixed("invite secret"))]);
  const keys = [
    { epoch: 0, key: b64(scene.roomKey) },
    { epoch: 1, key: b64(await keyOf(scene, 1)) },
  ];
  const { signKey, agreeKey } = scene.device;
  const revealed = { signKey, agreeKey, nonce: await fixed("nonce of the new device") };
  const agreed = { revealed, nonce: await fixed("nonce of the old device") };
  const answer = { name: "Zoë 🦉", rooms: [{ join: b64(join), keys }] };
  return {
    secret: b64(secret),
    link: moveLink("https://chat.example", secret),
    id: b64(await moveId(secret)),
    nonces: [b64(revealed.nonce), b64(agreed.nonce)],
    offer: b64(await moveOffer(secret, revealed)),
    nonce: b64(await moveNonce(secret, await moveCommitment(revealed), agreed.nonce)),
    reveal: b64(await moveReveal(secret, agreed)),
    code: await moveCode(secret, agreed),
    answer_plain: JSON.stringify(answer),
    ikm_e: b64(ikm),
    answer: b64(await sealAnswer(secret, scene.device, answer, ikm)),
  };
}

const EMOJI: Accepted = {
  accepted: ["👍", "👍🏽", "❤️", "👩‍👩‍👧‍👦", "🇵🇹", "*️⃣", "9️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "Ⓜ️", "™️", "!?", "🦉".repeat(10)],
  refused: [
    "",
    "z",
    "ß",
    "好",
    "ª",
    "7",
    "٣",
    "👍7",
    "👍\u00A0",
    "\t",
    "👍\u200F",
    "\u2066👍",
    "!".repeat(11),
    "🦉".repeat(11),
  ],
};

const TOPICS: Accepted = {
  accepted: ["", "a", "Zürich 🦉", "👩‍👩‍👧", "é".repeat(200), "🦉".repeat(200)],
  refused: [
    " ",
    "a ",
    "\u3000a",
    "a\u00A0b",
    "a  b",
    "Zu\u0308rich",
    "a\tb",
    "a\u2028b",
    "a\u200Bb",
    "a\u2067b",
    "\u200C",
    "é".repeat(201),
  ],
};

/** Makes this side's vectors of what governs a room; `first` is the founding record's envelope. */
export async function governingVectors(scene: Scene, first: Bytes): Promise<GoverningVectors> {
  return {
    epoch_records: [await epochRecord(scene, first)],
    sealed_keys: [await sealedKey(scene)],
    chains: [await chainVector(scene)],
    moves: [await moving(scene)],
    emoji: EMOJI,
    topics: TOPICS,
  };
}
