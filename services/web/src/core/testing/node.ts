//! A node of a server with one room, for tests of a page's session: sockets that follow, take envelopes and deliver.

import { roomOfEnvelope, type RawEntry } from "../frames.ts";
import { concat, u32, type Bytes } from "../bytes.ts";
import { type Socket } from "../connection.ts";
import { type RoomServer } from "./room-server.ts";
import { type ClientFrame, type ServerFrame } from "../../protocol.gen.ts";

/** An entry frame as it crosses the socket. */
function entryFrame({ seq, atMs, envelope }: RawEntry): ArrayBuffer {
  const u64 = (value: number) => concat(u32(Math.floor(value / 2 ** 32)), u32(value % 2 ** 32));
  return concat(Uint8Array.of(1), u64(seq), u64(atMs), envelope).buffer as ArrayBuffer;
}

/** One socket of it. What the page sends is taken in order; what it is told comes a moment later, as over a network. */
export class NodeSocket implements Socket {
  binaryType = "";
  onopen: (() => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  /** What the page said, in order: types of frames, and `binary`. */
  readonly said: string[] = [];
  closedBy: "page" | "node" | undefined;
  /** Takes envelopes, but does not answer: its answers are lost with it. */
  mute = false;
  readonly #server: RoomServer;

  constructor(server: RoomServer) {
    this.#server = server;
    setTimeout(() => this.onopen?.(), 1);
  }

  send(data: string | Bytes): void {
    if (typeof data !== "string") {
      this.said.push("binary");
      const id = new DataView(data.buffer, data.byteOffset).getUint32(1);
      void this.#take(id, data.slice(5));
      return;
    }
    const frame = JSON.parse(data) as ClientFrame;
    this.said.push(frame.type);
    if (frame.type === "hello") {
      const device = "AgICAgICAgICAgICAgICAg";
      this.say({ type: "welcome", device, node: "n", server_at_ms: 1, heartbeat_ms: 25_000 });
    }
    if (frame.type === "follow") this.#follow(frame);
  }

  close(): void {
    this.#end("page");
  }

  /** The node closes it. */
  drop(code: number): void {
    this.#end("node");
    this.onclose?.({ code });
  }

  say(frame: ServerFrame): void {
    this.#deliver(JSON.stringify(frame));
  }

  #end(by: "page" | "node"): void {
    this.closedBy ??= by;
    this.#server.listeners.delete(this.#hear);
  }

  #deliver(data: unknown): void {
    setTimeout(() => {
      if (this.closedBy === undefined) this.onmessage?.({ data });
    }, 1);
  }

  readonly #hear = (raw: RawEntry) => this.#deliver(entryFrame(raw));

  #follow({ id, cursor }: Extract<ClientFrame, { type: "follow" }>): void {
    const { id: room, history, head, chain } = this.#server;
    const from = cursor === undefined ? 1 : cursor.seq + 1;
    const followed = { type: "followed", id, room, history, head, from, skipped: false } as const;
    this.say({ ...followed, role: "member", chain: chain.newest.seq, here: [], here_count: 0 });
    for (let seq = from; seq <= head; seq++) this.#hear(this.#server.raw(seq));
    this.#server.listeners.add(this.#hear);
  }

  async #take(id: number, envelope: Bytes): Promise<void> {
    const answer = await this.#server.receive(envelope);
    if (this.mute) return;
    const room = roomOfEnvelope(envelope);
    if (answer.ok) this.say({ type: "sent", id, room, seq: answer.seq, at_ms: 1, duplicate: false });
    else this.say({ type: "error", id, room, code: answer.code, message: "", retry: "never" });
  }
}
