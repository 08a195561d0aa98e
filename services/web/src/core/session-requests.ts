//! Which room a request on the socket was for.

import { type Room } from "./room.ts";

/** Requests of sockets that were lost are never answered; they are forgotten after so many more. */
const REQUESTS_KEPT = 10_000;

export class SessionRequests {
  #next = 1;
  #rooms = new Map<number, Room>();

  /** A new id for a request of `room`. */
  begin(room: Room): number {
    const id = this.#next++;
    this.#rooms.set(id, room);
    this.#rooms.delete(id - REQUESTS_KEPT);
    return id;
  }

  /** The room whose request is answered by this; each is once. */
  answered(id: number): Room | undefined {
    const room = this.#rooms.get(id);
    this.#rooms.delete(id);
    return room;
  }
}
