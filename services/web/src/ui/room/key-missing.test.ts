// @vitest-environment jsdom
import { flushSync, mount, unmount } from "svelte";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FixtureActions, FixtureRoom, FixtureView } from "../../fixture/fixture.svelte.ts";
import Room from "./Room.svelte";

const REJOIN = "Join again";
const ANEW = "Forget and join anew";
let cleanUp = () => {};

beforeEach(() => {
  // jsdom does not lay out and has no modal dialogs.
  vi.stubGlobal("matchMedia", (media: string) => Object.assign(new EventTarget(), { matches: false, media }));
  vi.stubGlobal(
    "ResizeObserver",
    class {
      observe() {}
      unobserve() {}
      disconnect() {}
    },
  );
  Element.prototype.scrollTo = () => undefined;
  HTMLDialogElement.prototype.showModal = function () {
    this.open = true;
  };
});

afterEach(() => {
  cleanUp();
  document.body.replaceChildren();
  vi.unstubAllGlobals();
});

function open(set: (room: FixtureRoom) => void) {
  const [view, room] = [new FixtureView(), new FixtureRoom()];
  set(room);
  const actions = new FixtureActions(view, room);
  const onrejoin = vi.fn();
  const props = { view, room, actions, onback: vi.fn(), onopen: vi.fn(), onrejoin };
  const component = mount(Room, { target: document.body, props });
  flushSync();
  cleanUp = () => void unmount(component);
  return { view, room, actions, onrejoin };
}

const said = () => document.body.textContent ?? "";
const buttons = (name: string) =>
  [...document.querySelectorAll("button")].filter((one) => one.textContent?.trim() === name);

function press(name: string) {
  const found = buttons(name).at(-1);
  if (found === undefined) throw new Error(`no button “${name}”`);
  found.click();
  flushSync();
}

test("who lacks the room's newest key is told what to do, and led to do it", () => {
  const { room, onrejoin } = open((each) => (each.keyMissing = true));
  const banner = buttons(REJOIN)[0]?.closest("section");
  expect(banner?.getAttribute("aria-labelledby")).toBe(banner?.querySelector("h2")?.id);
  expect(banner?.textContent).toContain("The room has a new key that this device does not have");
  expect(banner?.textContent).toContain("Ask someone inside for the new password, then join again");
  expect(said()).toContain("You can write again once you have joined with the new password");
  press(REJOIN);
  expect(onrejoin).toHaveBeenCalledExactlyOnceWith(room.name);
});

test("that is gone once the key is there, and is not said in a room that has ended", () => {
  const { room } = open((each) => (each.keyMissing = true));
  expect(buttons(REJOIN)).toHaveLength(1);
  room.keyMissing = false;
  flushSync();
  expect(buttons(REJOIN)).toHaveLength(0);
  [room.keyMissing, room.ended] = [true, "deleted"];
  flushSync();
  expect(said()).not.toContain("The room has a new key that this device does not have");
});

test(
  "an owner of a room whose newest key cannot be used is led to close the history, and nobody else is",
  { timeout: 20_000 },
  async () => {
    const says = "The newest key of this room cannot be used";
    // A record that no key here opens; the right to go on is the chain's to give.
    const { room } = open((each) => ([each.stalled, each.keyMissing] = [true, true]));
    expect(said()).toContain(says);
    expect(said()).toContain("or the server withholds it. Ask the others first");
    expect(buttons(REJOIN)).toHaveLength(0);
    press("Close the history");
    const dialog = () => document.querySelector("dialog")?.textContent ?? "";
    await vi.waitFor(() => expect(dialog()).toContain("cannot be taken back"), { timeout: 10_000 });
    room.may = { ...room.may, history: false };
    flushSync();
    expect(said()).not.toContain(says);
    expect(buttons(REJOIN)).toHaveLength(1);
    room.keyMissing = false;
    flushSync();
    expect(said()).toContain("You cannot write until an owner has gone on from the newest key");
  },
);

test("whom the server does not know is told so, and not that there is no connection", () => {
  const { view, room } = open((each) => (each.contradicted = "device"));
  view.connection = { state: "waiting", sinceMs: 0, retryAtMs: Date.now() + 9_000 };
  flushSync();
  expect(said()).toContain("The server does not know this device any more");
  expect(said()).not.toContain("No connection");
  room.contradicted = null;
  flushSync();
  expect(said()).toContain("No connection");
  expect(buttons(ANEW)).toHaveLength(0);
});

test("who is shown another state of the room begins anew only after having read what that means", async () => {
  const { room, actions, onrejoin } = open((each) => {
    [each.contradicted, each.keyMissing, each.draft] = ["room", true, "Half a sentence"];
  });
  expect(buttons(REJOIN)).toHaveLength(0);
  expect(said()).toContain("when a server is restored from an older backup, or when someone wants to deceive you");
  expect(said()).toContain("You cannot write while the server does not know what this device knows");
  press(ANEW);
  const dialog = () => document.querySelector("dialog")?.textContent;
  await vi.waitFor(() => expect(dialog()).toContain("Do this only if the server was restored from a backup"));
  expect(dialog()).toContain("Half a sentence");
  expect(onrejoin).not.toHaveBeenCalled();
  press(ANEW);
  await vi.waitFor(() => expect(onrejoin).toHaveBeenCalledExactlyOnceWith(room.name));
  expect(actions.calls).toContain(`forget ${room.id}`);
});
