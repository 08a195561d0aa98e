// @vitest-environment jsdom
import { flushSync, mount, unmount } from "svelte";
import { afterEach, expect, test, vi } from "vitest";
import { MOVES } from "../../fixture/administration.ts";
import { FixtureActions, FixtureRoom, FixtureView } from "../../fixture/fixture.svelte.ts";
import type { ProblemCode } from "../../view.ts";
import MoveOld from "./MoveOld.svelte";
import Recover from "./Recover.svelte";

let cleanUp = () => {};

function stage() {
  const [view, room] = [new FixtureView(), new FixtureRoom()];
  return { view, room, actions: new FixtureActions(view, room) };
}

const said = () => document.body.textContent ?? "";

function press(name: string) {
  const found = [...document.querySelectorAll("button")].find((one) => one.textContent?.trim() === name);
  if (found === undefined) throw new Error(`no button “${name}”`);
  found.click();
  flushSync();
}

function type(label: string, text: string) {
  const found = [...document.querySelectorAll("label")].find((one) => one.textContent === label);
  const input = found && document.getElementById(found.htmlFor);
  if (!(input instanceof HTMLInputElement)) throw new Error(`no field “${label}”`);
  input.value = text;
  input.dispatchEvent(new InputEvent("input", { bubbles: true }));
  flushSync();
}

/** The key was tried, and refused. */
function recover(code: ProblemCode) {
  const { view, actions } = stage();
  actions.refusal = { code };
  const onrecovered = vi.fn();
  const component = mount(Recover, { target: document.body, props: { view, actions, onback: vi.fn(), onrecovered } });
  flushSync();
  cleanUp = () => void unmount(component);
  type("Room name", "Kitchen");
  type("Recovery key", "snug-recovery-aaaa");
  press("Recover the room");
  return { actions, onrecovered };
}

afterEach(() => {
  cleanUp();
  document.body.replaceChildren();
});

test("a move lasts as long as one looks at it, and hands over once the numbers were compared", () => {
  const { view, actions } = stage();
  const component = mount(MoveOld, { target: document.body, props: { view, actions, onback: vi.fn() } });
  flushSync();
  cleanUp = () => void unmount(component);
  expect(document.querySelector<HTMLInputElement>("input[readonly]")?.value).toContain("#move=");
  view.move = MOVES["move-old-code"] ?? null;
  flushSync();
  expect(said()).toContain("402917");
  press("They are the same");
  expect(said()).toContain("1 room could not be handed over: Family");
  cleanUp();
  cleanUp = () => {};
  expect(view.move).toBeNull();
});

test("a recovery key that belongs to another room is said at its field", async () => {
  const { actions, onrecovered } = recover("wrong_credentials");
  await vi.waitFor(() => expect(said()).toContain("does not belong to a room with that name"));
  expect(onrecovered).not.toHaveBeenCalled();
  actions.refusal = null;
  press("Recover the room");
  await vi.waitFor(() => expect(onrecovered).toHaveBeenCalledWith("sunday"));
});

test("where the newest key cannot be used, the recovery key goes on by closing the history, once that is chosen", async () => {
  const { actions, onrecovered } = recover("key_missing");
  await vi.waitFor(() => expect(said()).toContain("The newest key of this room cannot be used"));
  expect(onrecovered).not.toHaveBeenCalled();
  expect(actions.calls).not.toContain("recover by closing the history");
  actions.refusal = null;
  document.querySelector<HTMLInputElement>('input[type="checkbox"]')?.click();
  flushSync();
  press("Recover the room");
  await vi.waitFor(() => expect(onrecovered).toHaveBeenCalledWith("sunday"));
  expect(actions.calls).toContain("recover by closing the history");
});

test("agreeing to close the history of one room is not agreeing to it for another", async () => {
  const { actions, onrecovered } = recover("key_missing");
  await vi.waitFor(() => expect(said()).toContain("The newest key of this room cannot be used"));
  document.querySelector<HTMLInputElement>('input[type="checkbox"]')?.click();
  flushSync();
  actions.refusal = null;
  type("Room name", "Garden");
  expect(said()).not.toContain("The newest key of this room cannot be used");
  press("Recover the room");
  await vi.waitFor(() => expect(onrecovered).toHaveBeenCalledWith("sunday"));
  expect(actions.calls).not.toContain("recover by closing the history");
});
