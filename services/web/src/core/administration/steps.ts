//! What an admin does by one step: topic, lock, slow mode, muting, erasing, roles, retention, the password.

import { b64, fromB64 } from "../base64url.ts";
import { random } from "../bytes.ts";
import { stepBody, type Step } from "../chain/step.ts";
import { type ChainLink } from "../chain-links.ts";
import { EntryType, sealEnvelope } from "../crypto/envelope.ts";
import { canAgree } from "../crypto/device.ts";
import { deviceKeys } from "../crypto/epoch-record.ts";
import { grantKeys, KDF, passwordIkm, sealGrant } from "../crypto/grant.ts";
import { PageProblem } from "../page-problem.ts";
import { type DeviceKeys } from "../chain/state.ts";
import { type Effect, type Role } from "../../protocol.gen.ts";
import { repeated } from "./repeated.ts";
import { hasMoved, refusal, TRIES_MAX, type Steward } from "./steward.ts";

/**
 * Each is committed when it resolves, and holds on this page. When others administered first and did not touch the same, it
 * is done again upon theirs; otherwise it fails with `chain_moved`: look, and decide again. Rejects with `ApiError`
 * (`offline`: it may be done) and `PageProblem` (`key_missing`, `room_untrusted`).
 */
export async function take(steward: Steward, step: Step): Promise<void> {
  await administer(steward, step, effectOf(step));
}

/** Gives a member another role. */
export async function setRole(steward: Steward, device: string, role: Role): Promise<void> {
  const keys = await keysOf(steward, device);
  if (role !== "member") await demandSealable(keys);
  await take(steward, { type: "role", role, ...keys });
}

/** Makes a member owner, and this device a moderator. */
export async function transfer(steward: Steward, device: string): Promise<void> {
  const keys = await keysOf(steward, device);
  await demandSealable(keys);
  await take(steward, { type: "transfer", ...keys });
}

/** Replaces the password; the key, the members and the invites stay. */
export async function changePassword(
  steward: Steward,
  password: string,
  onStep: (step: "deriving" | "entering") => void,
): Promise<void> {
  const { bytes, world } = steward;
  const seen = (await steward.fold()).newest.seq;
  const grant = random(16);
  onStep("deriving");
  const derived = await grantKeys(await passwordIkm(password, bytes, grant, world.hash), bytes, grant);
  onStep("entering");
  const key = await steward.key();
  const content = { epoch: key.epoch, roomKey: key.raw, recordHash: key.record };
  const blob = await sealGrant(derived, bytes, grant, content);
  const effect = { type: "password", grant: b64(grant), kdf: KDF, auth: b64(derived.auth), blob: b64(blob) } as const;
  await administer(steward, { type: "password", grant: b64(grant) }, effect, seen);
}

/** What the server is told of a step. A new password's is made where the password is. */
function effectOf(step: Step): Effect {
  switch (step.type) {
    case "topic":
    case "password":
      return { type: "none" };
    case "lock":
      return { type: "lock", locked: step.locked };
    case "slow":
      return { type: "slow", interval_ms: step.intervalMs };
    case "mute":
      return { type: "mute", device: step.device, until_ms: step.untilMs };
    case "erase":
    case "unban":
      return { type: step.type, device: step.device };
    case "retention":
      return { type: "retention", age_ms: step.ageMs };
    case "role":
      return { type: "role", device: step.device, role: step.role };
    case "transfer":
      return { type: "transfer", device: step.device };
  }
}

async function keysOf({ room, world }: Steward, device: string): Promise<DeviceKeys> {
  const member = await world.api.member(room.id, device);
  const keys = await deviceKeys({ signKey: fromB64(member.sign_key, 32), agreeKey: fromB64(member.agree_key, 32) });
  // The server shows keys that are not the device's.
  if (keys.device !== device) throw new PageProblem("room_untrusted");
  return keys;
}

/**
 * An admin to whom nothing can be sealed would be out with the next key, and by the server's rules keep its equals from making
 * one. Rejects with `PageProblem`.
 */
async function demandSealable({ agreeKey }: DeviceKeys): Promise<void> {
  if (!(await canAgree(fromB64(agreeKey, 32)))) throw new PageProblem("room_untrusted");
}

function newestLink({ room }: Steward): number {
  return room.chain.fold?.newest.seq ?? 0;
}

async function administer(steward: Steward, step: Step, effect: Effect, decidedUpon?: number): Promise<void> {
  const seen = decidedUpon ?? (await steward.fold()).newest.seq;
  for (let attempt = 1; ; attempt++) {
    const before = newestLink(steward);
    try {
      if (before > seen && !leaveAlone(steward.room.chain.links, seen, step)) throw refusal("unlinked");
      const { seq } = await commit(steward, step, effect);
      await steward.committed(seq);
      return;
    } catch (error) {
      if (!hasMoved(error) || attempt === TRIES_MAX) throw error;
      await steward.room.chain.load();
      // A server that says that the chain moved must show how.
      if (newestLink(steward) <= before || !leaveAlone(steward.room.chain.links, seen, step)) throw error;
    }
  }
}

async function commit(steward: Steward, step: Step, effect: Effect): Promise<{ readonly seq: number }> {
  const { room, world, bytes } = steward;
  const fold = await steward.fold();
  const next = fold.nextStep(world.device.id, step);
  if (typeof next === "string") throw refusal(next);
  const key = await steward.key();
  const envelope = await sealEnvelope(key.use, {
    type: EntryType.step,
    room: bytes,
    epoch: key.epoch,
    device: world.device,
    deviceBytes: fromB64(world.device.id, 16),
    // Of its own: it is the only envelope of this instance, so its place is never contested by messages.
    instance: random(16),
    counter: 0,
    targetSeq: fold.newest.seq,
    prev: await steward.edge(),
    sentAtMs: world.now(),
    body: stepBody(fold.newest.hash, step),
  });
  const request = { envelope: b64(envelope), effect };
  return repeated(world.setTimeout, () => world.api.step(room.id, request));
}

/** Whether what others did after `seen` is something else than this step, so that it may be taken upon theirs. */
function leaveAlone(links: readonly ChainLink[], seen: number, step: Step): boolean {
  return links.every(({ entry: { seq, content }, counts }) => {
    if (seq <= seen || !counts) return true;
    return content.kind === "step" && !isSameMatter(step, content.step);
  });
}

const GOVERNING: ReadonlySet<Step["type"]> = new Set(["role", "transfer"]);

function isSameMatter(step: Step, other: Step): boolean {
  if (GOVERNING.has(step.type) && GOVERNING.has(other.type)) return true;
  if (step.type !== other.type) return false;
  return step.type !== "mute" || other.type !== "mute" || step.device === other.device;
}
