import { expect, it } from "vitest";

import { type Bytes } from "./bytes.ts";
import { OutboxFlight } from "./outbox-flight.ts";
import { type OutboxRow } from "./store.ts";

const row = (local: string): OutboxRow => ({
  local,
  room: "",
  type: 3,
  target: 0,
  body: {} as OutboxRow["body"],
  writtenAtMs: 0,
  state: "sealed",
  sealed: { instance: "i", counter: 0, envelope: new TextEncoder().encode(local), hash: local },
});
const rows = ["a", "b", "c"].map(row);

/** Sends what may be sent; the names, by request from `from` on. */
function sent(flight: OutboxFlight, from: number): string[] {
  const names: string[] = [];
  const transmit = (envelope: Bytes) => from - 1 + names.push(new TextDecoder().decode(envelope));
  flight.send(rows, transmit);
  return names;
}

it("what is on its way is not sent twice", () => {
  const flight = new OutboxFlight();
  expect([sent(flight, 1), sent(flight, 4)]).toEqual([["a", "b", "c"], []]);
  flight.begin();
  expect(sent(flight, 7)).toEqual(["a", "b", "c"]);
});

it("from what was refused on all goes again, one by one, while what went before it is waited for", () => {
  const flight = new OutboxFlight();
  sent(flight, 1);
  flight.answered(2);
  flight.overtake(2);
  flight.narrow();
  expect(sent(flight, 4)).toEqual([]);
  flight.answered(1);
  flight.delivered();
  let next = 4;
  expect(flight.send(rows.slice(1), () => next++)).toBe(true);
  // Its earlier answer still counts, if it says that it was sent.
  expect(flight.get(3)).toMatchObject({ local: "c", overtaken: true });
});

it("nothing is on its way without a connection", () => {
  const flight = new OutboxFlight();
  expect(flight.send(rows, () => undefined)).toBe(false);
  expect(flight.get(1)).toBeUndefined();
});
