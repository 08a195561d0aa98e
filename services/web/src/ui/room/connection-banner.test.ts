// @vitest-environment jsdom
import { flushSync, mount, unmount } from "svelte";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Connection } from "../../view.ts";
import ConnectionBanner from "./ConnectionBanner.svelte";

let cleanUp = () => {};
const onretry = vi.fn();

function lose(connection: Connection) {
  const component = mount(ConnectionBanner, { target: document.body, props: { connection, onretry } });
  flushSync();
  cleanUp = () => void unmount(component);
}

function pass(ms: number) {
  vi.advanceTimersByTime(ms);
  flushSync();
}

const banner = () => document.querySelector('[data-testid="connection"]')?.textContent ?? "";

beforeEach(() => {
  vi.useFakeTimers();
  onretry.mockClear();
});

afterEach(() => {
  cleanUp();
  document.body.replaceChildren();
  vi.useRealTimers();
});

test("a gap of less than three seconds is not mentioned", () => {
  lose({ state: "connecting", sinceMs: Date.now() });
  pass(2500);
  expect(banner()).toBe("");
  pass(1000);
  expect(banner()).toContain("Reconnecting");
});

test("the wait is counted down and can be ended", () => {
  lose({ state: "waiting", sinceMs: Date.now() - 5000, retryAtMs: Date.now() + 9000 });
  expect(banner()).toContain("9 s");
  pass(2000);
  expect(banner()).toContain("7 s");
  document.querySelector("button")?.click();
  expect(onretry).toHaveBeenCalledOnce();
});

test("the seconds are not read aloud", () => {
  lose({ state: "waiting", sinceMs: Date.now() - 5000, retryAtMs: Date.now() + 9000 });
  expect(document.querySelector('[role="status"]')?.textContent).not.toMatch(/\d/);
});

test("no timer runs while connected", () => {
  lose({ state: "online" });
  expect(vi.getTimerCount()).toBe(0);
});
