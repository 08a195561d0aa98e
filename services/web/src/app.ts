//! The page's core: starts the session, carries out what a user does, and keeps what is shown in step with it.

import { ApiError } from "./core/api.ts";
import { type Socket } from "./core/connection.ts";
import { hashInWorker } from "./core/crypto/argon2id-in-worker.ts";
import { parseInvite, type InviteSecret } from "./core/crypto/invite-link.ts";
import { createRoom, joinByInvite, joinByPassword } from "./core/enter.ts";
import { evidence } from "./core/evidence.ts";
import { memberName, roomName } from "./core/names.ts";
import { ratePassword, suggestPassphrase } from "./core/password.ts";
import { memberNameProblem, messageProblem, refused, resultOf, roomNameProblem } from "./core/problems.ts";
import { type Room } from "./core/room.ts";
import { Session, type TabNews } from "./core/session.ts";
import { askToPersist, Store, type RoomRecord } from "./core/store.ts";
import { typedText } from "./core/text.ts";
import { unsupported } from "./core/unsupported.ts";
import { PageDrawing } from "./page-drawing.ts";
import { PageState, RoomState } from "./page-state.svelte.ts";
import type { Invite } from "./protocol.gen.ts";
import type {
  Actions,
  CreateRoom,
  Created,
  EnterStep,
  InviteView,
  JoinRoom,
  NewInvite,
  PasswordRating,
  Problem,
  Result,
  RoomId,
  SavedFile,
  View,
} from "./view.ts";

const MY_NAME = "my-name";
const INVITE_MARK = "#join=";

/** Starts the page's core. The invite in the address, if any, is taken out of it before anything is requested. */
export function startApp(): { view: View; actions: Actions } {
  const app = new App();
  void app.start();
  return { view: app.view, actions: app };
}

class App implements Actions {
  readonly view = new PageState();
  readonly #tabs = new BroadcastChannel("snug");
  #session: Session | undefined;
  readonly #drawing = new PageDrawing(this.view, () => this.#session);
  /** The invite the page was opened with; `malformed` when the link was damaged. */
  #invite: InviteSecret | "malformed" | undefined;
  #bootAgain: (() => void) | undefined;

  constructor() {
    this.#takeInvite();
    window.addEventListener("hashchange", () => this.#takeInvite());
  }

  // ---- start

  async start(): Promise<void> {
    const why = await unsupported();
    if (why === undefined) await this.#startSession();
    else this.view.boot = why;
  }

  async #startSession(): Promise<void> {
    let session: Session;
    try {
      session = this.#makeSession(await Store.open());
      this.#session = session;
      this.view.myName = (await session.store.setting(MY_NAME)) ?? "";
      this.#listen(session);
      // Members and histories come when they come; the list can be shown as it is stored.
      void session.start().catch(() => undefined);
    } catch {
      this.view.boot = { state: "storage_unavailable" };
      return;
    }
    if ((await session.store.rooms()).length > 0) this.view.boot = { state: "ready" };
    await this.#probe();
  }

  /** Asks once whether the server answers to this address, since the socket's failure would not tell. */
  async #probe(): Promise<void> {
    try {
      const { status } = await fetch("/livez", { cache: "no-store" });
      if (status === 421) this.view.boot = { state: "wrong_host", host: location.host };
      else this.view.boot = { state: "ready" };
    } catch {
      if (this.view.boot.state !== "ready") this.view.boot = { state: "server_unreachable" };
      this.#bootAgain = () => void this.#probe();
    }
  }

  #makeSession(store: Store): Session {
    const address = `${location.origin.replace(/^http/, "ws")}/ws`;
    return new Session(
      store,
      {
        origin: location.origin,
        fetch: (input, init) => fetch(input, init),
        hash: hashInWorker,
        // The DOM types give handlers a `this` and an event of their own, which nobody here needs.
        openSocket: (protocol) => new WebSocket(address, protocol) as unknown as Socket,
        now: () => Date.now(),
        random: () => Math.random(),
        setTimeout: (run, ms) => window.setTimeout(run, ms),
        clearTimeout: (timer) => window.clearTimeout(timer),
        lock: (name, signal, hold) => navigator.locks.request(name, { signal }, hold),
        tell: (news) => this.#tabs.postMessage(news),
      },
      {
        roomChanged: () => this.#drawing.soon(),
        roomsChanged: () => this.#drawing.soon(),
        connectionChanged: () => this.#drawing.connection(),
      },
    );
  }

  #listen(session: Session): void {
    this.#tabs.onmessage = ({ data }: MessageEvent<TabNews>) => void session.told(data).catch(() => undefined);
    window.addEventListener("online", () => {
      session.networkBack();
      this.#drawing.connection();
    });
    window.addEventListener("offline", () => this.#drawing.connection());
    // A page that is loaded without a network gets no event for it.
    if (!navigator.onLine) this.#drawing.connection();
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") session.shown();
    });
  }

  // ---- checks

  checkMemberName(name: string): Problem | null {
    return memberNameProblem(name);
  }

  checkRoomName(name: string): Problem | null {
    return roomNameProblem(name);
  }

  checkMessage(text: string): Problem | null {
    return messageProblem(text);
  }

  async ratePassword(password: string, room: string, myName: string): Promise<PasswordRating> {
    try {
      return await ratePassword(password, [room, myName]);
    } catch {
      // The dictionaries could not be loaded. What cannot be rated is not called strong.
      return { score: 0, accepted: false, advice: null };
    }
  }

  async suggestPassphrase(): Promise<string> {
    try {
      return await suggestPassphrase();
    } catch {
      // The word list could not be loaded. 100 random bits in a form that can be read out do as well.
      const digits = crypto.getRandomValues(new Uint8Array(25));
      const letters = [...digits].map((digit) => "abcdefghjkmnpqrs".charAt(digit & 15)).join("");
      return letters.replace(/.{5}(?=.)/g, "$&-");
    }
  }

  // ---- entering

  async createRoom(wanted: CreateRoom, onStep: (step: EnterStep) => void): Promise<Result<Created>> {
    const names = this.#checkedNames(wanted.myName, wanted.roomName);
    if (!names.ok) return names;
    if (wanted.password === "") return refused({ code: "password_empty" });
    const rating = await this.ratePassword(wanted.password, wanted.roomName, wanted.myName);
    if (!rating.accepted) return refused({ code: "password_weak" });
    return this.#with(async (session) => {
      const { myName, name } = names.value;
      const { password } = wanted;
      const { record, recoveryKey } = await createRoom(session.enterWorld, { name, password, myName }, onStep);
      await this.#entered(session, record, myName);
      const invite = await this.createInvite(record.room, { expiresInMs: null, usesMax: null });
      return { room: record.room, roomName: record.name, invite: invite.ok ? invite.value : null, recoveryKey };
    });
  }

  async joinRoom(wanted: JoinRoom, onStep: (step: EnterStep) => void): Promise<Result<RoomId>> {
    const names = this.#checkedNames(wanted.myName, wanted.roomName);
    if (!names.ok) return names;
    if (wanted.password === "") return refused({ code: "password_empty" });
    return this.#with(async (session) => {
      const { myName, name } = names.value;
      const record = await joinByPassword(session.enterWorld, { name, password: wanted.password, myName }, onStep);
      await this.#entered(session, record, myName);
      return record.room;
    });
  }

  async joinByInvite(typedName: string, onStep: (step: EnterStep) => void): Promise<Result<RoomId>> {
    const invite = this.#invite;
    if (invite === undefined || invite === "malformed") return refused({ code: "invite_malformed" });
    const checked = memberName(typedName);
    if (!checked.ok) return refused({ code: `name_${checked.fault}` });
    return this.#with(async (session) => {
      const record = await joinByInvite(session.enterWorld, invite, checked.name, onStep);
      await this.#entered(session, record, checked.name);
      this.dismissInvite();
      return record.room;
    });
  }

  #checkedNames(member: string, room: string): Result<{ myName: string; name: string }> {
    const [mine, its] = [memberName(member), roomName(room)];
    if (!mine.ok) return refused({ code: `name_${mine.fault}` });
    if (!its.ok) return refused({ code: `room_name_${its.fault}` });
    return { ok: true, value: { myName: mine.name, name: its.name } };
  }

  async #entered(session: Session, record: RoomRecord, myName: string): Promise<void> {
    this.view.myName = myName;
    await session.store.keepSetting(MY_NAME, myName);
    void askToPersist();
    await session.entered(record);
  }

  useInviteLink(link: string): Result {
    const invite = parseInvite(link);
    if (invite === undefined) return refused({ code: "invite_malformed" });
    this.#invite = invite;
    this.view.invited = true;
    return { ok: true, value: undefined };
  }

  dismissInvite(): void {
    this.#invite = undefined;
    this.view.invited = false;
  }

  #takeInvite(): void {
    if (!location.hash.startsWith(INVITE_MARK)) return;
    this.#invite = parseInvite(location.hash) ?? "malformed";
    history.replaceState(history.state, "", location.pathname + location.search);
    this.view.invited = true;
  }

  // ---- rooms

  openRoom(id: RoomId): void {
    const room = this.#session?.rooms.get(id);
    if (room === undefined || this.view.room?.id === id) return;
    this.view.room = new RoomState(id);
    this.#session?.show(id);
    this.#drawing.opened(id);
  }

  closeRoom(): void {
    this.view.room = null;
    this.#session?.show(undefined);
  }

  forgetRoom(id: RoomId): Promise<Result> {
    return this.#with((session) => this.#forget(session, id));
  }

  leaveRoom(id: RoomId): Promise<Result> {
    return this.#withRoom(id, async (room, session) => {
      await room.leave();
      await this.#forget(session, id);
    });
  }

  deleteRoom(id: RoomId): Promise<Result> {
    return this.#with(async (session) => {
      await session.api.deleteRoom(id);
      await this.#forget(session, id);
    });
  }

  async #forget(session: Session, id: RoomId): Promise<void> {
    await session.forget(id);
    this.#drawing.forget(id);
    if (this.view.room?.id === id) this.closeRoom();
  }

  async changeName(id: RoomId, name: string): Promise<Result> {
    const checked = memberName(name);
    if (!checked.ok) return refused({ code: `name_${checked.fault}` });
    return this.#withRoom(id, async (room, session) => {
      await room.changeName(checked.name);
      this.view.myName = checked.name;
      await session.store.keepSetting(MY_NAME, checked.name);
    });
  }

  // ---- messages

  async send(id: RoomId, typed: string): Promise<Result> {
    const problem = messageProblem(typed);
    return problem === null ? this.#withRoom(id, (room) => room.send(typedText(typed))) : refused(problem);
  }

  sendAgain(id: RoomId, key: string): Promise<Result> {
    return this.#withRoom(id, (room) => room.sendAgain(key));
  }

  discard(id: RoomId, key: string): Promise<Result> {
    return this.#withRoom(id, (room) => room.discard(key));
  }

  saveDraft(id: RoomId, text: string): void {
    this.#session?.rooms.get(id)?.saveDraft(text);
  }

  typing(id: RoomId): void {
    this.#session?.rooms.get(id)?.typingHere();
  }

  seen(id: RoomId, seq: number): void {
    this.#session?.seen(id, seq);
  }

  loadOlder(id: RoomId): Promise<Result> {
    return this.#drawn(this.#withRoom(id, (room) => room.pages.loadOlder()));
  }

  loadHole(id: RoomId, key: string): Promise<Result> {
    return this.#drawn(
      this.#withRoom(id, async (room) => {
        const hole = room.log.holes.find(({ from }) => key === `hole ${from}`);
        if (hole !== undefined) await room.pages.loadHole(hole);
      }),
    );
  }

  /** Answers once the room is drawn with what was done. */
  async #drawn(work: Promise<Result>): Promise<Result> {
    const result = await work;
    this.#drawing.room();
    return result;
  }

  // ---- invites

  listInvites(id: RoomId): Promise<Result<readonly InviteView[]>> {
    return this.#withRoom(id, async (room, session) => {
      const { invites } = await session.api.invites(id);
      return invites.map((invite) => inviteView(room, invite));
    });
  }

  createInvite(
    id: RoomId,
    limits: { readonly expiresInMs: number | null; readonly usesMax: number | null },
  ): Promise<Result<NewInvite>> {
    return this.#withRoom(id, async (room, session) => {
      const { invite, link } = await session.createInvite(room, limits);
      return { invite: inviteView(room, invite), link };
    });
  }

  revokeInvite(id: RoomId, invite: string): Promise<Result> {
    return this.#with((session) => session.api.revokeInvite(id, invite));
  }

  // ---- the rest

  exportEvidence(id: RoomId): Promise<Result<SavedFile>> {
    return this.#withRoom(id, (room) =>
      Promise.resolve({
        name: `snug-evidence-${id}.json`,
        type: "application/json",
        text: evidence(room, Date.now()),
      }),
    );
  }

  retryNow(): void {
    this.#bootAgain?.();
    this.#bootAgain = undefined;
    this.#session?.retryNow();
  }

  #with<T>(work: (session: Session) => Promise<T>): Promise<Result<T>> {
    return resultOf(
      () => Date.now(),
      async () => {
        if (this.#session === undefined) throw new ApiError({ code: "unavailable" });
        return work(this.#session);
      },
    );
  }

  #withRoom<T>(id: RoomId, work: (room: Room, session: Session) => Promise<T>): Promise<Result<T>> {
    return this.#with((session) => {
      const room = session.rooms.get(id);
      if (room === undefined) throw new ApiError({ code: "room_not_found" });
      return work(room, session);
    });
  }
}

function inviteView(room: Room, invite: Invite): InviteView {
  return {
    id: invite.grant,
    mine: invite.made_by === room.me,
    madeByName: room.directory.newestName(invite.made_by) ?? invite.made_by.slice(0, 4),
    createdAtMs: invite.created_at_ms,
    expiresAtMs: invite.expires_at_ms ?? null,
    uses: invite.uses,
    usesMax: invite.uses_max ?? null,
  };
}
