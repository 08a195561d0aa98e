//! The new device's side of a move: commits to its keys, tells them once the old device has told its nonce, shows the code, and
//! enters the rooms that it is handed.

import { ApiError } from "../api.ts";
import { b64 } from "../base64url.ts";
import { type Bytes } from "../bytes.ts";
import { type PublicKeys } from "../crypto/device.ts";
import { parseInvite } from "../crypto/invite-link.ts";
import {
  generateMoveNonce,
  moveCode,
  moveCommitment,
  moveId,
  moveOffer,
  moveReveal,
  openAnswer,
  openNonce,
  type MoveAgreed,
  type MoveAnswer,
} from "../crypto/move.ts";
import { SealRefused } from "../crypto/sealed-key.ts";
import { joinByInvite, RoomUntrusted, type EnterWorld } from "../enter.ts";
import { keepOlderKeys, provenKeys } from "../older-keys.ts";
import { CalledOff, Patience, type Clock } from "../patience.ts";
import { problemOf } from "../problems.ts";
import { type RoomRecord } from "../store.ts";
import { MOVE_LIFE_MS } from "../../protocol.gen.ts";
import type { MoveView } from "../../view.ts";
import { waitFor } from "./mailbox.ts";

/** How long entering one room is tried while the server does not answer. */
const ROOM_LIMIT_MS = 60_000;

export type NewMove = Extract<MoveView, { side: "new" }>;

export interface TakingWorld {
  readonly enter: EnterWorld;
  /** Under which this device introduces itself from now on. */
  readonly keepName: (name: string) => Promise<void>;
  /** A room has been entered; `record` is stored. */
  readonly entered: (record: RoomRecord) => Promise<void>;
  readonly clock: Clock;
  readonly show: (move: NewMove) => void;
}

/**
 * Runs until the move is done, has failed, or is called off by `signal`; what it has come to is shown. Never rejects. Rooms that
 * were entered stay entered; where one could not be, the others are tried and the move has failed.
 */
export async function takeOver(world: TakingWorld, secret: Bytes, signal: AbortSignal): Promise<void> {
  const { api, store } = world.enter;
  const { device } = store.identity;
  let shown: NewMove = { side: "new", state: "opened", code: null, problem: null };
  const show = (change: Partial<NewMove>) => {
    if (signal.aborted) throw new CalledOff();
    world.show((shown = { ...shown, ...change }));
  };
  try {
    const mailbox = b64(await moveId(secret));
    const patience = new Patience(world.clock, MOVE_LIFE_MS, signal);
    show({ state: "meeting" });
    const agreed = await agree(api, secret, mailbox, device, patience);
    show({ state: "confirm", code: await moveCode(secret, agreed) });
    const sealed = await waitFor(patience, () => api.answer(mailbox));
    show({ state: "receiving" });
    const { name, rooms } = await openAnswer(secret, device, sealed);
    await world.keepName(name);
    await enterAll(world, name, rooms, signal);
    show({ state: "done" });
  } catch (error) {
    if (signal.aborted) return;
    // What does not open was not made by who showed the link.
    const cause = error instanceof SealRefused ? new RoomUntrusted() : error;
    show({ state: "failed", problem: problemOf(cause, world.clock.now()) });
  }
}

/** Commits to this device's keys, and tells them once the old device's nonce is there: not before, or it could be chosen to fit. */
async function agree(
  api: EnterWorld["api"],
  secret: Bytes,
  mailbox: string,
  { signKey, agreeKey }: PublicKeys,
  patience: Patience,
): Promise<MoveAgreed> {
  const revealed = { signKey, agreeKey, nonce: generateMoveNonce() };
  const [offer, commitment] = [await moveOffer(secret, revealed), await moveCommitment(revealed)];
  await patience.call(() => api.putOffer(mailbox, offer));
  const part = await waitFor(patience, () => api.moveNonce(mailbox));
  const nonce = await openNonce(secret, commitment, part);
  if (nonce === undefined) throw new ApiError({ code: "move_taken", retry: "never" });
  const agreed = { revealed, nonce };
  const reveal = await moveReveal(secret, agreed);
  await patience.call(() => api.putReveal(mailbox, reveal));
  return agreed;
}

/** Rejects with what went wrong first, after all rooms; at once when the server does not answer. */
async function enterAll(
  world: TakingWorld,
  name: string,
  rooms: MoveAnswer["rooms"],
  signal: AbortSignal,
): Promise<void> {
  const faults: unknown[] = [];
  for (const room of rooms) {
    try {
      await enterRoom(world, name, room, new Patience(world.clock, ROOM_LIMIT_MS, signal));
    } catch (error) {
      if (error instanceof CalledOff || (error instanceof ApiError && error.retry === "later")) throw error;
      faults.push(error);
    }
  }
  if (faults.length > 0) throw faults[0];
}

async function enterRoom(
  { enter, entered, clock }: TakingWorld,
  name: string,
  { join, keys }: MoveAnswer["rooms"][number],
  patience: Patience,
): Promise<void> {
  const invite = parseInvite(`#join=${join}`);
  if (invite === undefined) throw new RoomUntrusted();
  let record = await patience.call(() => joinByInvite(enter, invite, name, () => undefined));
  try {
    if (keys.length > 0) {
      const { api, store } = enter;
      const { device, local } = store.identity;
      const world = { api, device, local, setTimeout: clock.setTimeout };
      record = await keepOlderKeys(store, record, await patience.call(() => provenKeys(record, keys, world)));
    }
  } finally {
    // It is a member there, with or without the older keys.
    await entered(record);
  }
}
