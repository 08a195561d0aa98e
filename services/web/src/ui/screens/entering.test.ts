// @vitest-environment jsdom
import { flushSync, mount, unmount } from "svelte";
import { afterEach, expect, test, vi } from "vitest";
import { FixtureActions, FixtureRoom, FixtureView } from "../../fixture/fixture.svelte.ts";
import type { PasswordRating } from "../../view.ts";
import Create from "./Create.svelte";
import Invited from "./Invited.svelte";
import Join from "./Join.svelte";

/** Machines that test are busy at times. */
const PATIENCE = { timeout: 4_000 };
const PASSWORD = "orbit velvet canyon seven lantern";
let cleanUp = () => {};

function open(screen: typeof Create | typeof Invited | typeof Join) {
  const [view, room] = [new FixtureView(), new FixtureRoom()];
  const actions = new FixtureActions(view, room);
  const entered = vi.fn();
  const props = { view, actions, roomName: "", onback: () => {}, onjoined: entered, oncreated: entered };
  const component = mount(screen as typeof Create, { target: document.body, props });
  flushSync();
  cleanUp = () => void unmount(component);
  const type = (label: string, text: string) => {
    const input = field(label);
    input.value = text;
    input.dispatchEvent(new InputEvent("input", { bubbles: true }));
    flushSync();
  };
  return { actions, entered, type };
}

function field(label: string): HTMLInputElement {
  const found = [...document.querySelectorAll("label")].find((one) => one.textContent === label);
  const input = found && document.getElementById(found.htmlFor);
  if (!(input instanceof HTMLInputElement)) throw new Error(`no field “${label}”`);
  return input;
}

function submit() {
  document.querySelector("form")?.dispatchEvent(new SubmitEvent("submit", { bubbles: true, cancelable: true }));
}

const button = () => document.querySelector<HTMLButtonElement>('button[type="submit"]');

afterEach(() => {
  cleanUp();
  document.body.replaceChildren();
});

test.each([
  ["create", Create, ["nickname", "off", "new-password"]],
  ["join", Join, ["nickname", "username", "current-password"]],
] as const)("to %s, the browser is told what each field is", (_, screen, wanted) => {
  open(screen);
  const fields = ["Your name", "Room name", "Room password"].map((label) => field(label).autocomplete);
  expect(fields).toEqual(wanted);
});

test.each([
  ["Create", Create],
  ["Join", Join],
] as const)("%s takes one to the first field that is wrong", async (_, screen) => {
  const { entered, type } = open(screen);
  type("Your name", "Ana");
  submit();
  await vi.waitFor(() => expect(document.activeElement).toBe(field("Room name")), PATIENCE);
  expect(field("Room password").getAttribute("aria-invalid")).toBe("true");
  expect(entered).not.toHaveBeenCalled();
});

test("an invited person without a name is taken to the name", async () => {
  const { type } = open(Invited);
  type("Your name", "");
  field("Your name").blur();
  submit();
  await vi.waitFor(() => expect(document.activeElement).toBe(field("Your name")), PATIENCE);
});

test("a second Enter while the password is being rated creates no second room", async () => {
  const { actions, entered, type } = open(Create);
  type("Room name", "Garden");
  type("Room password", PASSWORD);
  let rated = (_: PasswordRating) => {};
  actions.ratePassword = () => new Promise((resolve) => (rated = resolve));
  submit();
  const first = rated;
  submit();
  first({ score: 4, accepted: true, advice: null });
  rated({ score: 4, accepted: true, advice: null });
  await vi.waitFor(() => expect(entered).toHaveBeenCalled(), PATIENCE);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(entered).toHaveBeenCalledOnce();
});

test("a taken room name is said at its field", async () => {
  const { actions, type } = open(Create);
  actions.refusal = { code: "room_name_taken", freeVariant: "Garden 2" };
  type("Room name", "Garden");
  type("Room password", PASSWORD);
  submit();
  await vi.waitFor(() => expect(document.activeElement).toBe(field("Room name")), PATIENCE);
  expect(document.body.textContent).toContain("Use “Garden 2” instead");
});

test("a pause locks the form until it is over, or another room is meant", async () => {
  const { actions, type } = open(Join);
  actions.refusal = { code: "too_many_attempts", retryAtMs: Date.now() + 60_000 };
  type("Room name", "Garden");
  type("Room password", PASSWORD);
  submit();
  await vi.waitFor(() => expect(document.querySelector('[role="timer"]')).not.toBeNull(), PATIENCE);
  expect(button()?.disabled).toBe(true);
  type("Room name", "Gardens");
  expect(button()?.disabled).toBe(false);
});
