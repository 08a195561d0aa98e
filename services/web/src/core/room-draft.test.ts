import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RoomDraft } from "./room-draft.ts";
import { type RoomRecord } from "./store.ts";

type Sealed = NonNullable<RoomRecord["draft"]>;
const seal = (text: string) => text as unknown as Sealed;

/** A room with a draft that is decrypted when `open` is called; texts are sealed when `sealed` is. */
function withDraft(stored: string) {
  let record = { room: "garden", life: "first", draft: seal(stored) } as unknown as RoomRecord;
  let open = () => {};
  let sealed = Promise.resolve();
  const draft = new RoomDraft(record, {
    store: {
      openText: () => new Promise((resolve) => (open = () => resolve(stored))),
      sealText: async (_, text) => (await sealed, seal(text)),
      changeRoom: (_, change) => Promise.resolve((record = change(record))),
    },
    setTimeout: (run, ms) => setTimeout(run, ms),
  });
  return {
    draft,
    open: () => open(),
    sealing: (until: Promise<void>) => (sealed = until),
    forgottenAndEnteredAnew: () => (record = { ...record, life: "second" }),
    stored: () => record.draft,
  };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("the draft of the last visit is there once it is decrypted", async () => {
  const { draft, open } = withDraft("half a sentence");
  const opened = draft.open();
  open();
  await opened;
  expect(draft.text).toBe("half a sentence");
});

test("a draft that is decrypted late does not replace what was typed", async () => {
  const { draft, open, stored } = withDraft("half a sentence");
  const opened = draft.open();
  draft.save("mine");
  open();
  await opened;
  await vi.runAllTimersAsync();
  expect(draft.text).toBe("mine");
  expect(stored()).toBe("mine");
});

test("a draft that is sealed late does not come back after it was sent", async () => {
  const { draft, sealing, stored } = withDraft("");
  let go = () => {};
  sealing(new Promise((resolve) => (go = resolve)));
  draft.save("hi");
  await vi.runAllTimersAsync();
  draft.save("");
  await vi.runAllTimersAsync();
  expect(stored()).toBeUndefined();
  go();
  await vi.runAllTimersAsync();
  expect(stored()).toBeUndefined();
});

test("a draft is not kept in a room that was forgotten and entered anew", async () => {
  const { draft, forgottenAndEnteredAnew, stored } = withDraft("of the new one");
  draft.save("of the old one");
  forgottenAndEnteredAnew();
  await vi.runAllTimersAsync();
  expect(stored()).toBe("of the new one");
});
