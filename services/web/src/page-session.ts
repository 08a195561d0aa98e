//! The page's session with its server: starts it, keeps what is shown in step with it, and lends it to what a user does.

import { ApiError } from "./core/api.ts";
import { type Socket } from "./core/connection.ts";
import { hashInWorker } from "./core/crypto/argon2id-in-worker.ts";
import { resultOf } from "./core/problems.ts";
import { type Room } from "./core/room.ts";
import { Session, type TabNews } from "./core/session.ts";
import { Store } from "./core/store.ts";
import { unsupported } from "./core/unsupported.ts";
import { PageDrawing } from "./page-drawing.ts";
import { PageState } from "./page-state.svelte.ts";
import type { Result, RoomId } from "./view.ts";

const MY_NAME = "my-name";

export class PageSession {
  readonly view = new PageState();
  readonly drawing = new PageDrawing(this.view, () => this.#session);
  #session: Session | undefined;
  #bootAgain: (() => void) | undefined;

  /** Undefined until the storage is open. */
  get session(): Session | undefined {
    return this.#session;
  }

  room(id: RoomId): Room | undefined {
    return this.#session?.rooms.get(id);
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
      // Only now: a browser that is too old may not have it.
      const tabs = new BroadcastChannel("snug");
      session = this.#makeSession(await Store.open(), tabs);
      this.#session = session;
      this.view.myName = (await session.store.setting(MY_NAME)) ?? "";
      this.#listen(session, tabs);
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

  #makeSession(store: Store, tabs: BroadcastChannel): Session {
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
        tell: (news) => tabs.postMessage(news),
      },
      {
        roomChanged: () => this.drawing.soon(),
        roomsChanged: () => this.drawing.soon(),
        connectionChanged: () => this.drawing.connection(),
      },
    );
  }

  #listen(session: Session, tabs: BroadcastChannel): void {
    tabs.onmessage = ({ data }: MessageEvent<TabNews>) => void session.told(data).catch(() => undefined);
    window.addEventListener("online", () => {
      session.networkBack();
      this.drawing.connection();
    });
    window.addEventListener("offline", () => this.drawing.connection());
    // A page that is loaded without a network gets no event for it.
    if (!navigator.onLine) this.drawing.connection();
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") session.shown();
    });
  }

  retryNow(): void {
    this.#bootAgain?.();
    this.#bootAgain = undefined;
    this.#session?.retryNow();
  }

  // ---- lending

  with<T>(work: (session: Session) => Promise<T>): Promise<Result<T>> {
    return resultOf(
      () => Date.now(),
      async () => {
        if (this.#session === undefined) throw new ApiError({ code: "unavailable" });
        return work(this.#session);
      },
    );
  }

  withRoom<T>(id: RoomId, work: (room: Room, session: Session) => Promise<T>): Promise<Result<T>> {
    return this.with((session) => {
      const room = session.rooms.get(id);
      if (room === undefined) throw new ApiError({ code: "room_not_found" });
      return work(room, session);
    });
  }

  /** Keeps the name for the next form. */
  async keepMyName(session: Session, name: string): Promise<void> {
    this.view.myName = name;
    await session.store.keepSetting(MY_NAME, name);
  }
}
