//! Coming into a room: a new one, or one that exists, by its password or an invite.

import { createRoom, joinByInvite, joinByPassword } from "../core/enter.ts";
import { parseRecovery } from "../core/crypto/recovery.ts";
import { memberName, roomName } from "../core/names.ts";
import { refused } from "../core/problems.ts";
import { type Session } from "../core/session.ts";
import { askToPersist, type RoomRecord } from "../core/store.ts";
import { type OpenedInvite } from "../opened-invite.ts";
import { type PageSession } from "../page-session.ts";
import type { CreateRoom, Created, EnterStep, JoinRoom, RecoverRoom, Result, RoomId } from "../view.ts";
import { checks } from "./checks.ts";
import { createInvite } from "./invites.ts";

export function entering(page: PageSession, opened: OpenedInvite) {
  async function entered(session: Session, record: RoomRecord, myName: string): Promise<void> {
    await page.keepMyName(session, myName);
    void askToPersist();
    await session.entered(record);
  }

  return {
    async createRoom(wanted: CreateRoom, onStep: (step: EnterStep) => void): Promise<Result<Created>> {
      const names = checkedNames(wanted.myName, wanted.roomName);
      if (!names.ok) return names;
      if (wanted.password === "") return refused({ code: "password_empty" });
      const rating = await checks.ratePassword(wanted.password, wanted.roomName, wanted.myName);
      if (!rating.accepted) return refused({ code: "password_weak" });
      return page.with(async (session) => {
        const { myName, name } = names.value;
        const { password } = wanted;
        const { record, recoveryKey } = await createRoom(session.enterWorld, { name, password, myName }, onStep);
        await entered(session, record, myName);
        const invite = await createInvite(page, record.room, { expiresInMs: null, usesMax: null });
        return { room: record.room, roomName: record.name, invite: invite.ok ? invite.value : null, recoveryKey };
      });
    },

    async joinRoom(wanted: JoinRoom, onStep: (step: EnterStep) => void): Promise<Result<RoomId>> {
      const names = checkedNames(wanted.myName, wanted.roomName);
      if (!names.ok) return names;
      if (wanted.password === "") return refused({ code: "password_empty" });
      return page.with(async (session) => {
        const { myName, name } = names.value;
        const record = await joinByPassword(session.enterWorld, { name, password: wanted.password, myName }, onStep);
        await entered(session, record, myName);
        return record.room;
      });
    },

    async joinByInvite(typedName: string, onStep: (step: EnterStep) => void): Promise<Result<RoomId>> {
      const { secret } = opened;
      if (secret === undefined) return refused({ code: "invite_malformed" });
      const checked = memberName(typedName);
      if (!checked.ok) return refused({ code: `name_${checked.fault}` });
      return page.with(async (session) => {
        const record = await joinByInvite(session.enterWorld, secret, checked.name, onStep);
        await entered(session, record, checked.name);
        opened.dismiss();
        return record.room;
      });
    },

    async recoverRoom(wanted: RecoverRoom, onStep: (step: EnterStep) => void): Promise<Result<RoomId>> {
      const names = checkedNames(wanted.myName, wanted.roomName);
      if (!names.ok) return names;
      const secret = parseRecovery(wanted.recoveryKey);
      if (secret === undefined) return refused({ code: "recovery_malformed" });
      return page.with(async (session) => {
        const { recoverRoom } = await import("../core/recovering.ts");
        const { myName, name } = names.value;
        try {
          const goOn = wanted.goOn === true;
          const record = await recoverRoom(session.recoverWorld, { name, secret, myName, goOn }, onStep);
          await entered(session, record, myName);
          return record.room;
        } catch (error) {
          // It may have come in before it failed: what is stored is shown.
          await session.told({ rooms: true });
          throw error;
        }
      });
    },

    useInviteLink: (link: string): Result => opened.use(link),
    dismissInvite: (): void => opened.dismiss(),
  };
}

function checkedNames(member: string, room: string): Result<{ myName: string; name: string }> {
  const [mine, its] = [memberName(member), roomName(room)];
  if (!mine.ok) return refused({ code: `name_${mine.fault}` });
  if (!its.ok) return refused({ code: `room_name_${its.fault}` });
  return { ok: true, value: { myName: mine.name, name: its.name } };
}
