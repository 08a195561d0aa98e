//! The socket as the rest of the client sees it: frames in, frames out, and whether it is there. Carries out what
//! `link-state` decides.

import { type Bytes } from "./bytes.ts";
import { BadFrame, clientFrame, parseEntryFrame, parseServerFrame, type RawEntry } from "./frames.ts";
import { CloseCode, step, UNWANTED, type LinkEffect, type LinkEvent, type LinkState } from "./link-state.ts";
import { SUBPROTOCOL, type ClientFrame, type ServerFrame } from "../protocol.gen.ts";

const CLIENT = "snug-web/0.1.0";

/** The part of a browser's WebSocket that is used. */
export interface Socket {
  binaryType: string;
  onopen: (() => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  send(data: string | Bytes): void;
  close(code?: number): void;
}

/** What a connection needs of its surroundings. */
export interface ConnectionWorld {
  openSocket(protocol: string): Socket;
  /** Renews the access token; rejects when that failed. */
  renew(): Promise<void>;
  now(): number;
  random(): number;
  setTimeout(run: () => void, ms: number): number;
  clearTimeout(timer: number): void;
}

export interface ConnectionEvents {
  /** The frames to send on a new socket right after `hello`: what is followed. */
  greeting(): readonly ClientFrame[];
  /** A socket is in use from now; all that is unanswered is to be sent again on it. */
  connected(): void;
  disconnected(): void;
  frame(frame: ServerFrame): void;
  entry(entry: RawEntry): void;
  changed(status: ConnectionStatus): void;
}

export type ConnectionStatus =
  | { readonly state: "online" }
  | { readonly state: "connecting"; readonly sinceMs: number }
  | { readonly state: "waiting"; readonly sinceMs: number; readonly retryAtMs: number };

export class Connection {
  readonly #world: ConnectionWorld;
  readonly #events: ConnectionEvents;
  #state: LinkState = UNWANTED;
  #sockets = new Map<number, Socket>();
  #silence = new Map<number, number>();
  #retry: number | undefined;
  #used: Socket | undefined;

  constructor(world: ConnectionWorld, events: ConnectionEvents) {
    this.#world = world;
    this.#events = events;
  }

  start(): void {
    this.#step({ type: "start" });
  }

  stop(): void {
    this.#step({ type: "stop" });
  }

  /** Ends the wait for the next attempt. */
  retryNow(): void {
    this.#step({ type: "retry_now" });
  }

  /** The socket is deaf although it is open: opens another one. */
  reconnect(): void {
    this.#step({ type: "reconnect" });
  }

  /** The browser says that the network is back. */
  networkBack(): void {
    this.#step({ type: "network" });
  }

  /** The page is shown again. */
  shown(): void {
    this.#step({ type: "shown" });
  }

  get status(): ConnectionStatus {
    const { link, lostAtMs, retryAtMs } = this.#state;
    if (link?.welcomed === true) return { state: "online" };
    const sinceMs = lostAtMs ?? this.#world.now();
    return retryAtMs === undefined ? { state: "connecting", sinceMs } : { state: "waiting", sinceMs, retryAtMs };
  }

  /** Sends on the socket in use; returns whether there is one. What is lost with it is the caller's to send again. */
  send(frame: ClientFrame | Bytes): boolean {
    if (this.#used === undefined) return false;
    this.#used.send(frame instanceof Uint8Array ? frame : clientFrame(frame));
    return true;
  }

  #step(event: LinkEvent): void {
    const before = JSON.stringify(this.status);
    const [state, effects] = step(this.#state, event, this.#world.now(), this.#world.random());
    this.#state = state;
    for (const effect of effects) this.#carryOut(effect);
    const status = this.status;
    if (JSON.stringify(status) !== before) this.#events.changed(status);
  }

  #carryOut(effect: LinkEffect): void {
    switch (effect.do) {
      case "open":
        this.#open(effect.id);
        break;
      case "close":
        this.#close(effect.id, effect.code);
        break;
      case "greet":
        this.#greet(effect.id);
        break;
      case "use":
        this.#used = this.#sockets.get(effect.id);
        this.#events.connected();
        break;
      case "lose":
        this.#used = undefined;
        this.#events.disconnected();
        break;
      case "await":
        this.#await(effect.id, effect.ms);
        break;
      case "retry_after":
        this.#retryAfter(effect.ms);
        break;
      case "renew":
        this.#world.renew().then(
          () => this.#step({ type: "renewed", ok: true }),
          () => this.#step({ type: "renewed", ok: false }),
        );
        break;
    }
  }

  #open(id: number): void {
    this.#world.clearTimeout(this.#retry ?? 0);
    const socket = this.#world.openSocket(SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    this.#sockets.set(id, socket);
    socket.onopen = () => this.#step({ type: "opened", id });
    socket.onmessage = ({ data }) => this.#receive(id, data);
    socket.onclose = ({ code }) => {
      this.#forget(id);
      this.#step({ type: "closed", id, code });
    };
  }

  #forget(id: number): void {
    const socket = this.#sockets.get(id);
    if (socket !== undefined) socket.onopen = socket.onmessage = socket.onclose = null;
    this.#sockets.delete(id);
    this.#world.clearTimeout(this.#silence.get(id) ?? 0);
    this.#silence.delete(id);
  }

  #close(id: number, code: number): void {
    const socket = this.#sockets.get(id);
    this.#forget(id);
    socket?.close(code);
  }

  #greet(id: number): void {
    const socket = this.#sockets.get(id);
    socket?.send(clientFrame({ type: "hello", client: CLIENT }));
    for (const frame of this.#events.greeting()) socket?.send(clientFrame(frame));
  }

  #await(id: number, ms: number): void {
    this.#world.clearTimeout(this.#silence.get(id) ?? 0);
    this.#silence.set(
      id,
      this.#world.setTimeout(() => this.#step({ type: "silent", id }), ms),
    );
  }

  #retryAfter(ms: number): void {
    this.#world.clearTimeout(this.#retry ?? 0);
    this.#retry = this.#world.setTimeout(() => this.#step({ type: "retry_due" }), ms);
  }

  #receive(id: number, data: unknown): void {
    try {
      if (data instanceof ArrayBuffer) {
        const entry = parseEntryFrame(new Uint8Array(data));
        this.#step({ type: "heard", id });
        this.#events.entry(entry);
      } else if (typeof data === "string") {
        this.#receiveText(id, parseServerFrame(data));
      }
    } catch (error) {
      if (!(error instanceof BadFrame)) throw error;
      this.#close(id, CloseCode.protocol);
      this.#step({ type: "closed", id, code: CloseCode.protocol });
    }
  }

  #receiveText(id: number, frame: ServerFrame | undefined): void {
    this.#step({ type: frame?.type === "welcome" ? "welcome" : "heard", id });
    if (frame === undefined) return;
    if (frame.type === "heartbeat") this.#sockets.get(id)?.send(clientFrame({ type: "heartbeat" }));
    if (frame.type === "move") this.#step({ type: "move", id, withinMs: frame.within_ms });
    this.#events.frame(frame);
  }
}
