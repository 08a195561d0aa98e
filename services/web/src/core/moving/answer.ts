//! What the old device hands over: a way into each room, and the keys of its older epochs.

import { ApiError } from "../api.ts";
import { b64, fromB64 } from "../base64url.ts";
import { concat } from "../bytes.ts";
import { parseInvite } from "../crypto/invite-link.ts";
import { answerFits, type MoveAnswer } from "../crypto/move.ts";
import { rawRoomKey } from "../crypto/room-key.ts";
import { makeInvite, type InvitingRoom, type InviteWorld } from "../make-invite.ts";
import { CalledOff, type Patience } from "../patience.ts";
import { type RoomRecord } from "../store.ts";

/** How long each invite is good, for one use. */
const INVITE_LIFE_MS = 3_600_000;

type MovedRoom = MoveAnswer["rooms"][number];

/** The rooms as they go into an answer. */
export class HandedRooms {
  readonly #world: InviteWorld;
  readonly #rooms: MovedRoom[] = [];
  readonly #left: string[] = [];
  readonly #invites: { readonly room: string; readonly grant: string }[] = [];

  constructor(world: InviteWorld) {
    this.#world = world;
  }

  /** Names of the rooms that cannot be handed over: those that are locked, and those whose newest key is not here. */
  get left(): readonly string[] {
    return this.#left;
  }

  /**
   * Makes the invites. A room that the server makes none for is left. Rejects with `ApiError` when it does not answer, and with
   * `CalledOff`.
   */
  async take(rooms: readonly InvitingRoom[], patience: Patience): Promise<void> {
    for (const room of rooms) {
      const join = await this.#invite(room, patience);
      if (join === undefined) this.#left.push(room.record.name);
      else this.#rooms.push({ join, keys: await this.#olderKeys(room.record) });
    }
  }

  async #invite(room: InvitingRoom, patience: Patience): Promise<string | undefined> {
    const limits = { expiresInMs: INVITE_LIFE_MS, usesMax: 1 };
    try {
      const { invite, link } = await patience.call(() => makeInvite(this.#world, room, limits));
      this.#invites.push({ room: room.record.room, grant: invite.grant });
      const secret = parseInvite(link);
      return secret && b64(concat(secret.room, secret.grant, secret.secret));
    } catch (error) {
      if (error instanceof CalledOff || (error instanceof ApiError && error.retry === "later")) throw error;
      return undefined;
    }
  }

  /** Newest first. */
  async #olderKeys({ room, keys, pinned }: RoomRecord): Promise<MovedRoom["keys"]> {
    const older = keys.filter(({ epoch }) => epoch !== pinned.epoch).sort((a, b) => b.epoch - a.epoch);
    const raw: MovedRoom["keys"][number][] = [];
    for (const key of older) {
      raw.push({ epoch: key.epoch, key: b64(await rawRoomKey(this.#world.local, fromB64(room, 16), key)) });
    }
    return raw;
  }

  /** The answer under this name, with as many of each room's keys, the newest ones, as there is place for. */
  answer(name: string): MoveAnswer {
    const upTo = (count: number): MoveAnswer => ({
      name,
      rooms: this.#rooms.map(({ join, keys }) => ({ join, keys: keys.slice(0, count) })),
    });
    let [fits, most] = [0, Math.max(0, ...this.#rooms.map(({ keys }) => keys.length))];
    while (fits < most) {
      const count = Math.ceil((fits + most) / 2);
      if (answerFits(upTo(count))) fits = count;
      else most = count - 1;
    }
    return upTo(fits);
  }

  /** Ends the invites, as far as the server can be heard. Never rejects. */
  async revoke(): Promise<void> {
    const { api } = this.#world;
    await Promise.allSettled(this.#invites.map(({ room, grant }) => api.revokeInvite(room, grant)));
  }
}
