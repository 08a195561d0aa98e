//! Keeps the page's state in step with the session. A field is replaced only when it differs, so that nothing is drawn in vain.

import { RoomDrawing } from "./core/drawing/room-drawing.ts";
import { type Room } from "./core/room.ts";
import { same, sameItems } from "./core/same.ts";
import { type Session } from "./core/session.ts";
import { type PageState, type RoomState } from "./page-state.svelte.ts";

/** Timers are set for at most this long, since browsers take no longer ones; then it is looked again. */
const WAKE_MAX_MS = 3_600_000;
/** Timers may go off a little early, and what has ended must have ended by then. */
const WAKE_LATE_MS = 50;

export class PageDrawing {
  readonly #view: PageState;
  readonly #session: () => Session | undefined;
  #drawings = new Map<string, RoomDrawing>();
  #due = false;
  #wake: ReturnType<typeof setTimeout> | undefined;
  #offlineSinceMs: number | undefined;
  /** The room whose unread divider is still to be placed. */
  #placingDivider: string | undefined;

  constructor(view: PageState, session: () => Session | undefined) {
    this.#view = view;
    this.#session = session;
  }

  /** A room has been opened: draws it, and places its unread divider once it is known what is new. */
  opened(room: string): void {
    this.#placingDivider = room;
    this.room();
  }

  forget(room: string): void {
    this.#drawings.delete(room);
  }

  /** Draws everything once what is going on now is over. */
  soon(): void {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      this.rooms();
      this.room();
    });
  }

  connection(): void {
    // The browser first: without a network a socket seems open until its silence is noticed.
    if (navigator.onLine) {
      this.#offlineSinceMs = undefined;
      this.#view.connection = this.#session()?.status ?? { state: "online" };
    } else {
      this.#offlineSinceMs ??= Date.now();
      this.#view.connection = { state: "offline", sinceMs: this.#offlineSinceMs };
    }
  }

  rooms(): void {
    const rooms = [...(this.#session()?.rooms.values() ?? [])].map((room) => {
      const drawing = this.#drawing(room);
      drawing.refresh(Date.now());
      return {
        id: room.id,
        name: room.record.name,
        role: drawing.rules().role,
        unread: drawing.unread(),
        lastAtMs: room.lastAtMs ?? null,
        ended: room.record.ended ?? null,
      };
    });
    rooms.sort((a, b) => (b.lastAtMs ?? 0) - (a.lastAtMs ?? 0) || a.name.localeCompare(b.name));
    if (!same(this.#view.rooms, rooms)) this.#view.rooms = rooms;
  }

  /** Draws the room that is shown. */
  room(): void {
    const shown = this.#view.room;
    const room = shown === null ? undefined : this.#session()?.rooms.get(shown.id);
    if (shown === null || room === undefined) return;
    const drawing = this.#drawing(room);
    const nowMs = Date.now();
    drawing.refresh(nowMs);
    const { record, log, presence, problem } = room;
    const failed = !room.ready && problem !== undefined;
    if (this.#placingDivider === room.id && log.caughtUp) this.#placeDivider(shown, room, drawing);
    const drawn: Partial<RoomState> = {
      ...drawing.rules(),
      name: record.name,
      ended: record.ended ?? null,
      problem: failed ? { code: problem.code } : null,
      state: room.ready || record.ended !== undefined ? "ready" : failed ? "failed" : "opening",
      complete: drawing.complete,
      older: room.pages.older,
      members: drawing.members(),
      hereCount: presence.hereCount,
      typing: drawing.typing(),
      typingCount: drawing.typingCount(),
      violations: drawing.violations(),
      pins: drawing.pins(),
      banned: drawing.banned(),
      may: drawing.may(),
      draft: room.draft.text,
    };
    replace(shown, drawn);
    const entries = drawing.entries();
    if (!sameItems(shown.entries, entries)) shown.entries = entries;
    this.#wakeAt(drawing.nextAtMs, nowMs);
  }

  #placeDivider(shown: RoomState, room: Room, drawing: RoomDrawing): void {
    this.#placingDivider = undefined;
    shown.unreadAfterSeq = drawing.unread() > 0 ? room.record.readSeq : null;
  }

  /** Draws again when something ends by itself: a mute, a wait for slow mode, the time that a message is kept. */
  #wakeAt(atMs: number, nowMs: number): void {
    clearTimeout(this.#wake);
    this.#wake = undefined;
    if (atMs === Infinity) return;
    this.#wake = setTimeout(() => this.room(), Math.min(atMs - nowMs + WAKE_LATE_MS, WAKE_MAX_MS));
  }

  #drawing(room: Room): RoomDrawing {
    let drawing = this.#drawings.get(room.id);
    if (drawing?.room !== room) {
      drawing = new RoomDrawing(room);
      this.#drawings.set(room.id, drawing);
    }
    return drawing;
  }
}

/** Replaces the fields that differ. */
function replace<T extends object>(target: T, fields: Partial<T>): void {
  for (const [name, value] of Object.entries(fields)) {
    if (!same(target[name as keyof T], value)) target[name as keyof T] = value as T[keyof T];
  }
}
