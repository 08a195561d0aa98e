//! When to open, give up and replace sockets: the rules of PROTOCOL.md section 3 as a pure state machine. It does
//! nothing itself; every step answers with what is to be done.

import { SILENCE_LIMIT_MS } from "../protocol.gen.ts";

const OPEN_LIMIT_MS = 10_000;
const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 30_000;
/** A connection that held this long counts as one that worked: the next loss begins with a short wait again. */
const STEADY_MS = 10_000;
/** Heartbeats come every 25 s; a page shown again after less silence than this has missed none. */
const STALE_MS = 30_000;

export const CloseCode = { byWish: 1000, restart: 1012, protocol: 4400, token: 4401 } as const;

interface Link {
  readonly id: number;
  readonly welcomed: boolean;
  readonly heardAtMs: number;
}

export interface LinkState {
  readonly wanted: boolean;
  /** The socket in use, or the one being opened. */
  readonly link?: Link | undefined;
  /** The socket that is to take its place. */
  readonly next?: Link | undefined;
  /** Losses in a row. */
  readonly losses: number;
  readonly welcomedAtMs: number;
  readonly renewedAtMs: number;
  readonly renewing: boolean;
  /** Until when the node that drains keeps the socket in use open. */
  readonly moveUntilMs?: number | undefined;
  /** When the wait for the next attempt ends. */
  readonly retryAtMs?: number | undefined;
  /** Since when there is no connection. */
  readonly lostAtMs?: number | undefined;
  readonly nextId: number;
}

export const UNWANTED: LinkState = {
  wanted: false,
  losses: 0,
  welcomedAtMs: -Infinity,
  renewedAtMs: -Infinity,
  renewing: false,
  nextId: 1,
};

export type LinkEvent =
  | { readonly type: "start" | "stop" }
  /** The user, or a room that hears nothing, wants a new connection now. */
  | { readonly type: "retry_now" | "reconnect" }
  /** The browser says that the network is back, or the page is shown again. */
  | { readonly type: "network" | "shown" }
  | { readonly type: "retry_due" }
  | { readonly type: "opened" | "welcome" | "heard" | "silent"; readonly id: number }
  /** The node drains, and closes this socket after so long. */
  | { readonly type: "move"; readonly id: number; readonly withinMs: number }
  | { readonly type: "closed"; readonly id: number; readonly code: number }
  | { readonly type: "renewed"; readonly ok: boolean };

export type LinkEffect =
  | { readonly do: "open"; readonly id: number }
  | { readonly do: "close"; readonly id: number; readonly code: number }
  /** Say hello and follow, on this socket. */
  | { readonly do: "greet"; readonly id: number }
  /** This socket is the one to send on from now. */
  | { readonly do: "use"; readonly id: number }
  /** The socket to send on is gone. */
  | { readonly do: "lose" }
  /** Report silence on this socket unless something else is set for it before. */
  | { readonly do: "await"; readonly id: number; readonly ms: number }
  | { readonly do: "retry_after"; readonly ms: number }
  | { readonly do: "renew" };

export type Step = readonly [LinkState, readonly LinkEffect[]];

/** What `event` at `nowMs` changes and what is to be done; `random` is at least 0 and below 1. */
export function step(state: LinkState, event: LinkEvent, nowMs: number, random: number): Step {
  switch (event.type) {
    case "start":
      return state.wanted ? [state, []] : open({ ...state, wanted: true, lostAtMs: nowMs }, nowMs);
    case "stop":
      return stop(state);
    case "retry_now":
    case "retry_due":
      if (isMoving(state, nowMs)) return replace(state, nowMs);
      return state.wanted && state.link === undefined && !state.renewing ? open(state, nowMs) : [state, []];
    case "network":
      return state.link?.welcomed === true ? replace(state, nowMs) : again(state, nowMs);
    case "shown":
      if (state.link?.welcomed !== true) return again(state, nowMs);
      return nowMs - state.link.heardAtMs > STALE_MS ? replace(state, nowMs) : [state, []];
    case "reconnect":
      return state.link === undefined ? [state, []] : lost(state, state.link.id, CloseCode.byWish, nowMs, random, true);
    case "renewed":
      return renewed(state, event.ok, nowMs, random);
    case "closed":
      return lost(state, event.id, event.code, nowMs, random, false);
    case "silent":
      return lost(state, event.id, CloseCode.byWish, nowMs, random, true);
    case "opened":
      return [state, isOurs(state, event.id) ? [{ do: "greet", id: event.id }] : []];
    case "move":
      if (state.link?.id !== event.id) return [state, []];
      return replace({ ...state, moveUntilMs: nowMs + event.withinMs }, nowMs);
    case "welcome":
    case "heard":
      return heard(state, event.id, event.type === "welcome", nowMs);
  }
}

function isOurs(state: LinkState, id: number): boolean {
  return state.link?.id === id || state.next?.id === id;
}

/** Whether the socket in use will close soon and none that takes its place is being opened. */
function isMoving({ link, next, moveUntilMs }: LinkState, nowMs: number): boolean {
  return link?.welcomed === true && next === undefined && moveUntilMs !== undefined && nowMs < moveUntilMs;
}

function stop(state: LinkState): Step {
  const links = [state.link, state.next].filter((link) => link !== undefined);
  const closing = links.map(({ id }): LinkEffect => ({ do: "close", id, code: CloseCode.byWish }));
  return [{ ...UNWANTED, nextId: state.nextId }, [...closing, { do: "lose" }]];
}

function open(state: LinkState, nowMs: number): Step {
  const id = state.nextId;
  const link: Link = { id, welcomed: false, heardAtMs: nowMs };
  return [
    { ...state, link, next: undefined, retryAtMs: undefined, nextId: id + 1 },
    [
      { do: "open", id },
      { do: "await", id, ms: OPEN_LIMIT_MS },
    ],
  ];
}

/** Opens at once what is being waited for. */
function again(state: LinkState, nowMs: number): Step {
  if (!state.wanted || state.link !== undefined || state.renewing) return [state, []];
  return open({ ...state, losses: 0 }, nowMs);
}

/** Opens a second socket that takes over when it is welcomed. */
function replace(state: LinkState, nowMs: number): Step {
  if (state.next !== undefined) return [state, []];
  const id = state.nextId;
  return [
    { ...state, next: { id, welcomed: false, heardAtMs: nowMs }, nextId: id + 1 },
    [
      { do: "open", id },
      { do: "await", id, ms: OPEN_LIMIT_MS },
    ],
  ];
}

function heard(state: LinkState, id: number, isWelcome: boolean, nowMs: number): Step {
  if (!isOurs(state, id)) return [state, []];
  const waiting: LinkEffect = { do: "await", id, ms: SILENCE_LIMIT_MS };
  const old = state.next?.id === id ? state.next : state.link;
  const link: Link = { id, welcomed: isWelcome || old?.welcomed === true, heardAtMs: nowMs };
  if (!link.welcomed) return [state, []];
  if (!isWelcome) return [state.next?.id === id ? { ...state, next: link } : { ...state, link }, [waiting]];
  const used = { ...state, link, next: undefined, moveUntilMs: undefined, lostAtMs: undefined, welcomedAtMs: nowMs };
  const effects: LinkEffect[] = [waiting, { do: "use", id }];
  if (state.next?.id === id && state.link !== undefined) {
    effects.push({ do: "close", id: state.link.id, code: CloseCode.byWish });
  }
  return [used, effects];
}

function lost(state: LinkState, id: number, code: number, nowMs: number, random: number, weClose: boolean): Step {
  const closing: LinkEffect[] = weClose ? [{ do: "close", id, code }] : [];
  if (state.next?.id === id) {
    const alone = { ...state, next: undefined };
    if (!isMoving(alone, nowMs)) return [alone, closing];
    // Until the old socket closes there is time; after that, the usual way back.
    return [alone, [...closing, { do: "retry_after", ms: backoff(1, random) }]];
  }
  if (state.link?.id !== id) return [state, []];
  const wasInUse = state.link.welcomed;
  const gone: LinkEffect[] = wasInUse ? [...closing, { do: "lose" }] : closing;
  const without: LinkState = { ...state, link: undefined, moveUntilMs: undefined, lostAtMs: state.lostAtMs ?? nowMs };
  if (state.next !== undefined) return [{ ...without, link: state.next, next: undefined }, gone];
  if (code === CloseCode.token && nowMs - state.renewedAtMs > STEADY_MS) {
    return [{ ...without, renewing: true }, [...gone, { do: "renew" }]];
  }
  const steady = wasInUse && nowMs - state.welcomedAtMs > STEADY_MS;
  const losses = (steady ? 0 : state.losses) + 1;
  const atOnce = wasInUse && losses === 1 && (code === CloseCode.restart || weClose);
  const ms = atOnce ? Math.round(random * BACKOFF_MIN_MS) : backoff(losses, random);
  return [{ ...without, losses, retryAtMs: nowMs + ms }, [...gone, { do: "retry_after", ms }]];
}

function renewed(state: LinkState, ok: boolean, nowMs: number, random: number): Step {
  if (!state.wanted || !state.renewing) return [{ ...state, renewing: false }, []];
  const done = { ...state, renewing: false };
  if (ok) return open({ ...done, renewedAtMs: nowMs }, nowMs);
  const losses = state.losses + 1;
  const ms = backoff(losses, random);
  return [{ ...done, losses, retryAtMs: nowMs + ms }, [{ do: "retry_after", ms }]];
}

/** Jittered and exponential: at least 0.5 s, at most 30 s. */
export function backoff(losses: number, random: number): number {
  const top = Math.min(BACKOFF_MAX_MS, 2 * BACKOFF_MIN_MS * 2 ** (losses - 1));
  return Math.round(top * (0.5 + random / 2));
}
