//! Governing a room.

import { ApiError } from "../core/api.ts";
import { Steward } from "../core/administration/steward.ts";
import { changePassword, setRole, take, transfer } from "../core/administration/steps.ts";
import { type Step } from "../core/chain/step.ts";
import { auditEntries, droppedOut } from "../core/drawing/admin.ts";
import { fingerprint } from "../core/crypto/device.ts";
import { refused, resultOf } from "../core/problems.ts";
import { type Room } from "../core/room.ts";
import { type Session } from "../core/session.ts";
import { topicFault, typedTopic } from "../core/text.ts";
import { type PageSession } from "../page-session.ts";
import type { Actions, DeviceId, Problem, Result, RoomId } from "../view.ts";
import { checks } from "./checks.ts";
import { inviteView } from "./invites.ts";

type Administration = Pick<
  Actions,
  | "setTopic"
  | "setLocked"
  | "setSlow"
  | "setRetention"
  | "mute"
  | "eraseMember"
  | "unban"
  | "setRole"
  | "transfer"
  | "changePassword"
  | "drawRecoveryKey"
  | "rekey"
  | "audit"
>;

/** Rare, and more code than all else here: loaded when it is needed. */
function rekeying(): Promise<typeof import("../core/administration/rekey.ts")> {
  return import("../core/administration/rekey.ts").catch(() => {
    throw new ApiError({ code: "offline" });
  });
}

export function administration(page: PageSession): Administration {
  /** Answers once the room is drawn with what was done. */
  async function govern<T>(id: RoomId, act: (steward: Steward, room: Room) => Promise<T>): Promise<Result<T>> {
    const result = await page.withRoom(id, (room, session) => act(stewardOf(room, session), room));
    page.drawing.room();
    return result;
  }

  const step = (id: RoomId, wanted: Step): Promise<Result> => govern(id, (steward) => take(steward, wanted));

  async function passwordProblem(id: RoomId, password: string): Promise<Problem | null> {
    if (password === "") return { code: "password_empty" };
    const room = page.room(id);
    const rating = await checks.ratePassword(password, room?.record.name ?? "", page.view.myName);
    return rating.accepted ? null : { code: "password_weak" };
  }

  return {
    async setTopic(id: RoomId, typed: string): Promise<Result> {
      const topic = typedTopic(typed);
      const fault = topicFault(topic);
      if (fault !== undefined) return refused({ code: fault === "too_long" ? "topic_too_long" : "topic_forbidden" });
      return step(id, { type: "topic", topic });
    },

    setLocked: (id, locked) => step(id, { type: "lock", locked }),
    setSlow: (id, ms) => step(id, { type: "slow", intervalMs: ms }),
    setRetention: (id, ms) => step(id, { type: "retention", ageMs: ms }),

    // A date beyond all dates says that it ends when it is lifted.
    mute: (id, device, untilMs) =>
      step(id, { type: "mute", device, untilMs: Math.min(Math.ceil(untilMs), Number.MAX_SAFE_INTEGER) }),

    eraseMember: (id: RoomId, device: DeviceId) => step(id, { type: "erase", device }),
    unban: (id: RoomId, device: DeviceId) => step(id, { type: "unban", device }),
    setRole: (id, device, role) => govern(id, (steward) => setRole(steward, device, role)),
    transfer: (id: RoomId, device: DeviceId) => govern(id, (steward) => transfer(steward, device)),

    async changePassword(id, password, onStep) {
      const problem = await passwordProblem(id, password);
      return problem === null ? govern(id, (steward) => changePassword(steward, password, onStep)) : refused(problem);
    },

    drawRecoveryKey: () => resultOf(Date.now, async () => (await rekeying()).drawRecoveryKey()),

    async rekey(id, change, onStep) {
      const problem = await passwordProblem(id, change.password);
      if (problem !== null) return refused(problem);
      return govern(id, async (steward, room) => {
        const { rekey } = await rekeying();
        const { recoveryKey, ...others } = change;
        const { revoked, excluded } = await rekey(
          steward,
          { ...others, ...(recoveryKey !== null && { recoveryKey }) },
          onStep,
        );
        return {
          revoked: revoked.map((invite) => inviteView(room, invite)),
          excluded: excluded.map((device) => room.directory.newestName(device) ?? fingerprint(device)),
        };
      });
    },

    audit: (id) =>
      page.withRoom(id, async (room) => {
        await room.chain.ready();
        return auditEntries(room, await droppedOut(room));
      }),
  };
}

function stewardOf(room: Room, session: Session): Steward {
  const { device, local } = session.store.identity;
  const { hash, now } = session.enterWorld;
  const setTimeout = (run: () => void, ms: number) => window.setTimeout(run, ms);
  return new Steward(room, { api: session.api, device, local, hash, now, setTimeout });
}
