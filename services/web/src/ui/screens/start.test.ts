// @vitest-environment jsdom
import { flushSync, mount, unmount } from "svelte";
import { afterEach, expect, test, vi } from "vitest";
import { FixtureActions, FixtureRoom, FixtureView } from "../../fixture/fixture.svelte.ts";
import Start from "./Start.svelte";

let cleanUp = () => {};

afterEach(() => {
  cleanUp();
  document.body.replaceChildren();
});

test("who finds no rooms here is told where they may have gone, and how to come back", () => {
  const [view, room] = [new FixtureView(), new FixtureRoom()];
  const actions = new FixtureActions(view, room);
  const went = { oncreate: vi.fn(), onjoin: vi.fn(), onrecover: vi.fn(), onmove: vi.fn(), onopen: vi.fn() };
  const component = mount(Start, { target: document.body, props: { view, actions, ...went } });
  cleanUp = () => void unmount(component);
  flushSync();
  const said = () => document.body.textContent ?? "";
  expect(said()).not.toContain("if its site data was cleared");
  view.rooms = [];
  flushSync();
  expect(said()).toContain("if its site data was cleared, join again with the room's password or an invite");
});
