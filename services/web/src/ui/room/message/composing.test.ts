// @vitest-environment jsdom
import { expect, test } from "vitest";
import { FixtureActions, FixtureRoom, FixtureView } from "../../../fixture/fixture.svelte.ts";
import type { Problem, Result } from "../../../view.ts";
import { member, message } from "../../timeline/testing/entries.ts";
import { Composing } from "./composing.svelte.ts";

const refusal: Problem = { code: "local_storage" };
const mine = message(7, { mine: true, text: "as it was" });
const theirs = message(5, { author: "bo", authorName: "Bo" });

function begin(draft = "") {
  const room = new FixtureRoom();
  room.draft = draft;
  room.entries = [theirs, mine];
  const actions = new FixtureActions(new FixtureView(), room);
  const composing = new Composing(() => room, actions);
  const write = (text: string) => {
    composing.text = text;
    composing.changed();
  };
  const called = (what: string) => actions.calls.filter((call) => call.startsWith(`${what} `));
  return { actions, room, composing, write, called };
}

test("an answer names what it answers, and the next message does not", async () => {
  const { composing, write, called } = begin();
  composing.reply(theirs);
  write("Yes");
  await composing.hand();
  write("Also");
  await composing.hand();
  expect(called("send")).toEqual(["send Yes", "send Also"]);
  expect(called("replyTo")).toEqual(["replyTo 5"]);
});

test("a refused answer comes back as the answer it was", async () => {
  const { actions, composing, write } = begin();
  composing.reply(theirs);
  write("Yes");
  actions.refusal = refusal;
  await composing.hand();
  expect(composing.text).toBe("Yes");
  expect(composing.task).toEqual({ kind: "reply", message: theirs });
  expect(composing.problem).toEqual(refusal);
});

test("editing sets the draft aside and gives it back, saved or cancelled", async () => {
  const { composing, write, called } = begin("half a thought");
  composing.edit(mine);
  expect(composing.text).toBe("as it was");
  composing.cancel();
  expect(composing.text).toBe("half a thought");
  composing.edit(mine);
  write("as it is");
  await composing.hand();
  expect(called("edit")).toEqual(["edit 7 as it is"]);
  expect(composing.text).toBe("half a thought");
  expect(composing.task.kind).toBe("new");
});

test("the text of an edit is never stored as a draft", () => {
  const { composing, write, called } = begin("half a thought");
  composing.edit(mine);
  write("as it is");
  expect(called("saveDraft")).toEqual([]);
});

test("a refused edit stays in the composer, with the draft behind it", async () => {
  const { actions, composing, write } = begin("half a thought");
  composing.edit(mine);
  write("as it is");
  actions.refusal = refusal;
  await composing.hand();
  expect(composing.text).toBe("as it is");
  expect(composing.task.kind).toBe("edit");
  composing.cancel();
  expect(composing.text).toBe("half a thought");
});

test("while an edit is handed over nothing can take its text away", async () => {
  const { actions, composing, write } = begin();
  let answer: (result: Result) => void = () => {};
  actions.edit = () => new Promise<Result>((resolve) => (answer = resolve));
  composing.edit(mine);
  write("as it is");
  const handed = composing.hand();
  expect(composing.saving).toBe(true);
  expect(composing.cancel()).toBe(false);
  composing.reply(theirs);
  expect(composing.text).toBe("as it is");
  answer({ ok: false, problem: refusal });
  await handed;
  expect(composing.text).toBe("as it is");
});

test("an unchanged text is no edit", async () => {
  const { composing, called } = begin();
  composing.edit(mine);
  await composing.hand();
  expect(called("edit")).toEqual([]);
  expect(composing.task.kind).toBe("new");
});

test("a message refused while another is being edited waits behind the edit", async () => {
  const { actions, composing, write } = begin();
  write("Do not lose me");
  actions.refusal = refusal;
  const handed = composing.hand();
  composing.edit(mine);
  await handed;
  expect(composing.text).toBe("as it was");
  composing.cancel();
  expect(composing.text).toBe("Do not lose me");
});

test("a draft that comes late is taken behind an edit, and never over what was typed", () => {
  const { composing, write } = begin();
  composing.edit(mine);
  composing.takeDraft("from the store");
  composing.cancel();
  expect(composing.text).toBe("from the store");
  write("typed");
  composing.takeDraft("from another tab");
  expect(composing.text).toBe("typed");
});

test("what has not arrived cannot be edited", () => {
  const { composing } = begin("draft");
  composing.edit(message(null, { mine: true }));
  expect(composing.text).toBe("draft");
});

test("whom was chosen from the list is told", async () => {
  const { room, composing, write, called } = begin();
  const sam = member("Sam", { device: "sam-2" });
  room.members = [member("Sam", { device: "sam-1" }), sam];
  write("@s");
  expect(composing.mention({ from: 0, to: 2, name: "s" }, sam)).toBe(5);
  expect(composing.text).toBe("@Sam ");
  await composing.hand();
  expect(called("mentions")).toEqual(["mentions sam-2"]);
});
