// @vitest-environment jsdom
import { flushSync, mount, unmount } from "svelte";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FixtureActions, FixtureRoom, FixtureView } from "../../fixture/fixture.svelte.ts";
import Composer from "./Composer.svelte";

let touch = false;
let cleanUp = () => {};

function open(draft = "") {
  const [view, room] = [new FixtureView(), new FixtureRoom()];
  room.draft = draft;
  const actions = new FixtureActions(view, room);
  const component = mount(Composer, { target: document.body, props: { room, limits: view.limits, actions } });
  flushSync();
  cleanUp = () => void unmount(component);
  const box = document.querySelector("textarea");
  if (box === null) throw new Error("no text box");
  const type = (text: string) => {
    box.value = text;
    box.dispatchEvent(new InputEvent("input", { bubbles: true }));
    flushSync();
  };
  const press = async (init: KeyboardEventInit) => {
    const event = new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...init });
    box.dispatchEvent(event);
    await new Promise((resolve) => setTimeout(resolve));
    flushSync();
    return event;
  };
  const sent = () => actions.calls.filter((call) => call.startsWith("send "));
  return { actions, room, box, type, press, sent };
}

beforeEach(() => {
  touch = false;
  vi.stubGlobal("matchMedia", () => ({ matches: touch }));
  // jsdom lays nothing out.
  Element.prototype.scrollIntoView = () => {};
});

afterEach(() => {
  cleanUp();
  document.body.replaceChildren();
  vi.unstubAllGlobals();
});

test("Enter sends and empties the box", async () => {
  const { box, type, press, sent } = open();
  type("Hello");
  await press({});
  expect(sent()).toEqual(["send Hello"]);
  expect(box.value).toBe("");
});

test("Shift+Enter breaks the line", async () => {
  const { type, press, sent } = open();
  type("Hello");
  expect((await press({ shiftKey: true })).defaultPrevented).toBe(false);
  expect(sent()).toEqual([]);
});

test("Enter that ends a composition sends nothing", async () => {
  const { type, press, sent } = open();
  type("こんにちは");
  await press({ isComposing: true });
  await press({ keyCode: 229 });
  expect(sent()).toEqual([]);
});

test("on a touch screen Enter breaks the line", async () => {
  touch = true;
  const { type, press, sent } = open();
  type("Hello");
  await press({});
  expect(sent()).toEqual([]);
});

test("a text that is refused stays, and why is said", async () => {
  const { actions, box, type, press } = open();
  actions.refusal = { code: "local_storage" };
  type("Do not lose me");
  await press({});
  expect(box.value).toBe("Do not lose me");
  expect(document.querySelector('[role="alert"]')?.textContent).toContain("did not let the page store");
});

test("a text that is too long stays, is counted and not sent", async () => {
  const { box, type, press, sent } = open();
  type("x".repeat(4001));
  await press({});
  expect(sent()).toEqual([]);
  expect(box.value).toHaveLength(4001);
  expect(document.body.textContent).toContain("1 character too many");
});

test("blanks alone are not sent", async () => {
  const { type, press, sent } = open();
  type("  \n ");
  await press({});
  expect(sent()).toEqual([]);
});

test("a draft that comes late is taken, but never over what was typed", () => {
  const { box, room, type } = open();
  room.draft = "from the store";
  flushSync();
  expect(box.value).toBe("from the store");
  type("mine");
  room.draft = "from another tab";
  flushSync();
  expect(box.value).toBe("mine");
});

test("looking into a room and away again does not overwrite its draft", () => {
  const { actions, box } = open();
  box.focus();
  box.blur();
  expect(actions.calls).toEqual([]);
});

test("the draft is there again, and each change of it is kept", () => {
  const { actions, box, type } = open("half a sentence");
  expect(box.value).toBe("half a sentence");
  type("half a sentence more");
  expect(actions.calls).toContain("saveDraft half a sentence more");
});

test("the arrow up in an empty box edits my last message, and Escape leaves it as it was", async () => {
  const { box, type, press, sent } = open();
  await press({ key: "ArrowUp" });
  expect(box.value).toBe("So `9.50` each.");
  expect(document.querySelector(".context")?.textContent).toContain("Editing your message");
  await press({ key: "Escape" });
  expect(box.value).toBe("");
  expect(document.querySelector(".context")).toBeNull();
  type("begun");
  await press({ key: "ArrowUp" });
  expect(box.value).toBe("begun");
  expect(sent()).toEqual([]);
});

test("an @ offers people, the keys choose, and two of one name are told apart", async () => {
  const { box, type, press, sent } = open();
  box.focus();
  type("@sa");
  const options = [...document.querySelectorAll('[role="option"]')];
  expect(options.map((each) => each.querySelector(".fingerprint")?.textContent)).toEqual([
    "Device m5ca",
    "Device x9ef",
  ]);
  expect(box.getAttribute("aria-activedescendant")).toBe(options[0]?.id);
  await press({ key: "ArrowDown" });
  expect(box.getAttribute("aria-activedescendant")).toBe(options[1]?.id);
  await press({});
  expect(box.value).toBe("@Sam ");
  expect(document.querySelector('[role="option"]')).toBeNull();
  expect(sent()).toEqual([]);
});

test("Escape closes the list of people and leaves the text", async () => {
  const { box, type, press } = open();
  box.focus();
  type("@sa");
  await press({ key: "Escape" });
  expect(document.querySelector('[role="option"]')).toBeNull();
  expect(box.value).toBe("@sa");
});

test("whoever is muted keeps the text and sends nothing", async () => {
  const { box, room, type, press, sent } = open();
  room.mutedUntilMs = Number.POSITIVE_INFINITY;
  type("Hello");
  await press({});
  expect(box.value).toBe("Hello");
  expect(sent()).toEqual([]);
  expect(document.querySelector(".hindrance")?.textContent).toContain("Your text stays here");
  room.mutedUntilMs = null;
  flushSync();
  await press({});
  expect(sent()).toEqual(["send Hello"]);
});
