import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RoomMemory } from "./room-memory.ts";
import { type RoomRecord } from "./store.ts";

const SEALED = new Uint8Array(1) as unknown as NonNullable<RoomRecord["draft"]>;

/** A room with a draft that is decrypted when `open` is called. */
function withDraft(draft: string) {
  let record = { room: "garden", draft: SEALED } as unknown as RoomRecord;
  let open = () => {};
  const sealed: string[] = [];
  const memory = new RoomMemory(record, {
    store: {
      openText: () => new Promise((resolve) => (open = () => resolve(draft))),
      sealText: (_, text) => {
        sealed.push(text);
        return Promise.resolve(SEALED);
      },
      changeRoom: (_, change) => Promise.resolve(void (record = change(record))),
    },
    setTimeout: (run, ms) => setTimeout(run, ms),
  });
  return { memory, sealed, open: () => open() };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("the draft of the last visit is there once it is decrypted", async () => {
  const { memory, open } = withDraft("half a sentence");
  const started = memory.start();
  open();
  await started;
  expect(memory.draft).toBe("half a sentence");
});

test("a draft that is decrypted late does not replace what was typed", async () => {
  const { memory, sealed, open } = withDraft("half a sentence");
  const started = memory.start();
  memory.saveDraft("mine");
  open();
  await started;
  await vi.runAllTimersAsync();
  expect(memory.draft).toBe("mine");
  expect(sealed).toEqual(["mine"]);
});
