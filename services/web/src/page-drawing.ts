//! Keeps the page's state in step with the session. A field is replaced only when it differs, so that nothing is drawn in vain.

import { type Room } from "./core/room.ts";
import { type Session } from "./core/session.ts";
import { Timeline } from "./core/timeline.ts";
import { type PageState, type RoomState } from "./page-state.svelte.ts";

export class PageDrawing {
  readonly #view: PageState;
  readonly #session: () => Session | undefined;
  #timelines = new Map<string, Timeline>();
  #due = false;
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
    this.#timelines.delete(room);
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
    const rooms = [...(this.#session()?.rooms.values() ?? [])].map((room) => ({
      id: room.id,
      name: room.record.name,
      role: room.record.role,
      unread: this.#timeline(room).unread(),
      lastAtMs: room.lastAtMs ?? null,
      ended: room.record.ended ?? null,
    }));
    rooms.sort((a, b) => (b.lastAtMs ?? 0) - (a.lastAtMs ?? 0) || a.name.localeCompare(b.name));
    if (!same(this.#view.rooms, rooms)) this.#view.rooms = rooms;
  }

  /** Draws the room that is shown. */
  room(): void {
    const shown = this.#view.room;
    const room = shown === null ? undefined : this.#session()?.rooms.get(shown.id);
    if (shown === null || room === undefined) return;
    const timeline = this.#timeline(room);
    const { record, log, presence } = room;
    shown.name = record.name;
    shown.role = record.role;
    shown.ended = record.ended ?? null;
    shown.problem = room.ready || room.problem === undefined ? null : { code: room.problem.code };
    shown.state = room.ready || record.ended !== undefined ? "ready" : shown.problem === null ? "opening" : "failed";
    if (this.#placingDivider === room.id && log.caughtUp) this.#placeDivider(shown, room, timeline);
    const entries = timeline.entries();
    if (!sameItems(shown.entries, entries)) shown.entries = entries;
    shown.complete = log.complete;
    shown.older = room.pages.older;
    const members = timeline.members();
    if (!same(shown.members, members)) shown.members = members;
    shown.hereCount = presence.hereCount;
    const typing = timeline.typing(Date.now());
    if (!same(shown.typing, typing)) shown.typing = typing;
    const violations = timeline.violations();
    if (!same(shown.violations, violations)) shown.violations = violations;
    shown.draft = room.draft;
  }

  #placeDivider(shown: RoomState, room: Room, timeline: Timeline): void {
    this.#placingDivider = undefined;
    shown.unreadAfterSeq = timeline.unread() > 0 ? room.record.readSeq : null;
  }

  #timeline(room: Room): Timeline {
    let timeline = this.#timelines.get(room.id);
    if (timeline === undefined || timeline.room !== room) {
      timeline = new Timeline(room);
      this.#timelines.set(room.id, timeline);
    }
    return timeline;
  }
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}
