/**
 * Which screen is in front, kept in the browser's history: its back button and the phone's back gesture work, and a reload comes
 * back to the same room. The address itself stays as it is.
 */

import type { RoomId } from "../view.ts";

export type Screen =
  | { readonly name: "start" }
  | { readonly name: "create" }
  /** `roomName` of a room one knows already; else empty. */
  | { readonly name: "join"; readonly roomName: string }
  | { readonly name: "recover" }
  /** My rooms to another device of mine. */
  | { readonly name: "move" }
  | { readonly name: "room"; readonly room: RoomId };

interface Place {
  readonly screen: Screen;
  /** How many of our own places lie behind this one. */
  readonly depth: number;
}

const START: Place = { screen: { name: "start" }, depth: 0 };

export class Navigation {
  #place: Place = $state.raw(START);

  constructor() {
    this.#place = placeOf(history.state) ?? START;
  }

  get screen(): Screen {
    return this.#place.screen;
  }

  /** Follows the browser's back and forward buttons until the returned function is called. */
  listen(): () => void {
    const follow = (event: PopStateEvent) => (this.#place = placeOf(event.state) ?? START);
    addEventListener("popstate", follow);
    return () => removeEventListener("popstate", follow);
  }

  go(screen: Screen): void {
    this.#place = { screen, depth: this.#place.depth + 1 };
    history.pushState({ snug: this.#place }, "");
  }

  /** For a step one should not come back to, such as a form that was sent. */
  replace(screen: Screen): void {
    this.#place = { screen, depth: this.#place.depth };
    history.replaceState({ snug: this.#place }, "");
  }

  /** Into a room from a form or another room: one step back leads to the list, also where a link opened the page. */
  enter(room: RoomId): void {
    if (this.#place.depth > 0) return this.replace({ name: "room", room });
    this.replace(START.screen);
    this.go({ name: "room", room });
  }

  back(): void {
    if (this.#place.depth > 0) history.back();
    else this.replace(START.screen);
  }

  /** To the list of rooms, from wherever one is. */
  home(): void {
    if (this.#place.depth === 1) history.back();
    else this.replace(START.screen);
  }
}

/** What history holds may be from another version of this page, so it is read with care. */
function placeOf(state: unknown): Place | null {
  const place = field(state, "snug");
  const screen = screenOf(field(place, "screen"));
  const depth = field(place, "depth");
  return screen !== null && typeof depth === "number" ? { screen, depth } : null;
}

function screenOf(value: unknown): Screen | null {
  const name = field(value, "name");
  if (name === "start" || name === "create" || name === "recover" || name === "move") return { name };
  const roomName = field(value, "roomName");
  if (name === "join" && typeof roomName === "string") return { name, roomName };
  const room = field(value, "room");
  return name === "room" && typeof room === "string" ? { name, room } : null;
}

function field(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}
