// @vitest-environment jsdom
import { beforeEach, expect, test } from "vitest";
import { Navigation } from "./navigation.svelte.ts";

beforeEach(() => history.replaceState(null, ""));

const popped = () => new Promise((resolve) => addEventListener("popstate", resolve, { once: true }));

test("back from a room leads to the list", async () => {
  const navigation = new Navigation();
  const stop = navigation.listen();
  navigation.go({ name: "room", room: "a" });
  navigation.enter("b");
  const back = popped();
  navigation.back();
  await back;
  expect(navigation.screen).toEqual({ name: "start" });
  stop();
});

test("back leads to the list also where a link opened the page", async () => {
  const navigation = new Navigation();
  const stop = navigation.listen();
  navigation.enter("a");
  expect(navigation.screen).toEqual({ name: "room", room: "a" });
  const back = popped();
  history.back();
  await back;
  expect(navigation.screen).toEqual({ name: "start" });
  stop();
});

test("a reload comes back to the same room", () => {
  new Navigation().go({ name: "room", room: "a" });
  expect(new Navigation().screen).toEqual({ name: "room", room: "a" });
});

test("what another version left in history is not trusted", () => {
  for (const state of [
    1,
    { snug: 1 },
    { snug: { screen: { name: "room" }, depth: 1 } },
    { snug: { screen: { name: "x" } } },
    { snug: { screen: { name: "join" }, depth: 1 } },
  ]) {
    history.replaceState(state, "");
    expect(new Navigation().screen).toEqual({ name: "start" });
  }
});
