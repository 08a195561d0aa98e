//! The old device's side of a move: shows a link, is answered by the new device, which commits to its keys before it knows this
//! one's nonce, and hands its rooms over once the user has compared the code.

import { ApiError, type Api } from "../api.ts";
import { b64 } from "../base64url.ts";
import { type Bytes } from "../bytes.ts";
import { canAgree, type PublicKeys } from "../crypto/device.ts";
import {
  generateMoveNonce,
  generateMoveSecret,
  moveCode,
  moveId,
  moveLink,
  moveNonce,
  openOffer,
  openReveal,
  sealAnswer,
  type MoveAgreed,
} from "../crypto/move.ts";
import { type InvitingRoom, type InviteWorld } from "../make-invite.ts";
import { CalledOff, Patience, type Clock } from "../patience.ts";
import { problemOf } from "../problems.ts";
import { MOVE_LIFE_MS } from "../../protocol.gen.ts";
import type { MoveView } from "../../view.ts";
import { HandedRooms } from "./answer.ts";
import { expired, waitFor } from "./mailbox.ts";

export type OldMove = Extract<MoveView, { side: "old" }>;

export interface HandingWorld extends InviteWorld {
  readonly api: InviteWorld["api"] & Pick<Api, "offer" | "putNonce" | "reveal" | "putAnswer">;
  /** Under which the new device introduces itself; one that may be a member's. */
  readonly name: () => string;
  readonly rooms: () => Promise<readonly InvitingRoom[]>;
  readonly clock: Clock;
  readonly show: (move: OldMove) => void;
}

/**
 * Runs until the move is done, has failed, or is called off by `signal`; what it has come to is shown, at first before this
 * returns. `confirmed` resolves when the user has found the codes to be the same. Never rejects. A move that is not done leaves no
 * invites, as far as the server can be heard.
 */
export async function handOver(world: HandingWorld, confirmed: Promise<void>, signal: AbortSignal): Promise<void> {
  const secret = generateMoveSecret();
  const link = moveLink(world.origin, secret);
  let shown: OldMove = { side: "old", state: "waiting", link, code: null, left: [], problem: null };
  const show = (change: Partial<OldMove>) => {
    if (signal.aborted) throw new CalledOff();
    world.show((shown = { ...shown, ...change }));
  };
  try {
    show({});
    const mailbox = b64(await moveId(secret));
    const commitment = await offered(world, secret, mailbox, new Patience(world.clock, MOVE_LIFE_MS, signal));
    // As long as the mailbox lives, which the offer has opened.
    const patience = new Patience(world.clock, MOVE_LIFE_MS, signal);
    const agreed = await agree(world, secret, mailbox, commitment, patience);
    show({ state: "confirm", code: await moveCode(secret, agreed) });
    await Promise.race([confirmed, patience.end().then(() => Promise.reject(expired()))]);
    show({ state: "sending" });
    const left = await answer(world, secret, mailbox, agreed.revealed, patience);
    show({ state: "done", left });
  } catch (error) {
    if (signal.aborted) return;
    show({ state: "failed", problem: problemOf(error, world.clock.now()) });
  }
}

/** What the new device has committed to. */
async function offered(world: HandingWorld, secret: Bytes, mailbox: string, patience: Patience): Promise<Bytes> {
  const offer = await waitFor(patience, () => world.api.offer(mailbox));
  // Whoever put it there did not have the link.
  return (await openOffer(secret, offer)) ?? refuse();
}

/** Tells this device's nonce now that the other one is committed, and is told what to. */
async function agree(
  world: HandingWorld,
  secret: Bytes,
  mailbox: string,
  commitment: Bytes,
  patience: Patience,
): Promise<MoveAgreed> {
  const nonce = generateMoveNonce();
  const part = await moveNonce(secret, commitment, nonce);
  await patience.call(() => world.api.putNonce(mailbox, part));
  const told = await waitFor(patience, () => world.api.reveal(mailbox));
  const revealed = await openReveal(secret, commitment, nonce, told);
  // It is not what the offer committed to, or nothing can be sealed to it.
  if (revealed === undefined || !(await canAgree(revealed.agreeKey))) return refuse();
  return { revealed, nonce };
}

function refuse(): never {
  throw new ApiError({ code: "move_taken", retry: "never" });
}

async function answer(
  world: HandingWorld,
  secret: Bytes,
  mailbox: string,
  to: PublicKeys,
  patience: Patience,
): Promise<readonly string[]> {
  const handed = new HandedRooms(world);
  try {
    await handed.take(await world.rooms(), patience);
    const sealed = await sealAnswer(secret, to, handed.answer(world.name()));
    await patience.call(() => world.api.putAnswer(mailbox, sealed));
  } catch (error) {
    void handed.revoke();
    throw error;
  }
  return handed.left;
}
