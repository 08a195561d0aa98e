// @vitest-environment jsdom
import { flushSync, mount, unmount, type Component } from "svelte";
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import { AUDIT, governed, powerless } from "../../fixture/administration.ts";
import { FixtureActions, FixtureRoom, FixtureView } from "../../fixture/fixture.svelte.ts";
import { LINH, RECOVERY_KEY, SAM } from "../../fixture/people.ts";
import type { AdminEntry } from "../../view.ts";
import type { RoomDialog, RoomDialogProps } from "./dialogs.ts";
import LeaveDialog from "./LeaveDialog.svelte";
import BannedDialog from "./people/BannedDialog.svelte";
import MemberDialog from "./people/MemberDialog.svelte";
import RekeyDialog from "./people/RekeyDialog.svelte";
import AuditDialog from "./settings/AuditDialog.svelte";
import PasswordDialog from "./settings/PasswordDialog.svelte";
import SettingsDialog from "./settings/SettingsDialog.svelte";

let cleanUp = () => {};

beforeAll(() => {
  // jsdom has no modal dialogs and does not lay out.
  HTMLDialogElement.prototype.showModal = function () {
    this.open = true;
  };
  HTMLDialogElement.prototype.close = function () {
    this.open = false;
    this.dispatchEvent(new Event("close"));
  };
  Element.prototype.scrollIntoView = () => undefined;
});

afterEach(() => {
  cleanUp();
  document.body.replaceChildren();
});

function open(
  shown: Component<RoomDialogProps>,
  {
    dialog = "settings",
    set = governed,
    audited = AUDIT,
  }: { dialog?: RoomDialog; set?: (room: FixtureRoom) => void; audited?: readonly AdminEntry[] } = {},
) {
  const [view, room] = [new FixtureView(), new FixtureRoom()];
  const actions = new FixtureActions(view, room);
  actions.audited = audited;
  set(room);
  const [onclose, ondialog] = [vi.fn(), vi.fn()];
  const props = { view, room, actions, dialog, onclose, ondialog, onopen: vi.fn(), onleft: vi.fn(), onrejoin: vi.fn() };
  const component = mount(shown, { target: document.body, props });
  flushSync();
  cleanUp = () => {
    void unmount(component);
    cleanUp = () => {};
  };
  return { room, actions, onclose, ondialog };
}

const said = () => document.body.textContent ?? "";
const nameOf = (button: Element) => button.getAttribute("aria-label") ?? button.textContent?.trim() ?? "";
const buttons = (name: string) => [...document.querySelectorAll("button")].filter((one) => nameOf(one) === name);

function press(name: string) {
  const found = buttons(name).at(-1);
  if (found === undefined) throw new Error(`no button “${name}”`);
  found.click();
  flushSync();
}

function choose(value: string) {
  const list = document.querySelector("select");
  if (list === null) throw new Error("nothing to choose");
  list.value = value;
  list.dispatchEvent(new Event("change", { bubbles: true }));
  flushSync();
}

const WEEK_MS = String(7 * 24 * 3_600_000);

test("the audit list says who changed what, newest first", async () => {
  open(AuditDialog, { dialog: "audit" });
  await vi.waitFor(() => expect(document.querySelectorAll("ol li")).toHaveLength(AUDIT.length));
  const lines = [...document.querySelectorAll("ol li p")].map((line) => line.textContent);
  expect(lines[0]).toContain("Sam (m5ca) tried a change that was not allowed");
  expect(lines).toContain("Ana removed Kim. Lee did not get the new key: they had left, or were put out");
  expect(lines.at(-1)).toBe("Ana created the room");
});

test("the audit list claims to be whole only where it begins with the room", async () => {
  const claims = () => [said().includes("since it began"), said().includes("as far back as")];
  open(AuditDialog, { dialog: "audit" });
  await vi.waitFor(() => expect(claims()).toEqual([true, false]));
  cleanUp();
  // Who came after a cut of the history has the chain from there on.
  open(AuditDialog, { dialog: "audit", audited: AUDIT.filter(({ change }) => change.what !== "created") });
  await vi.waitFor(() => expect(document.querySelectorAll("ol li")).toHaveLength(AUDIT.length - 1));
  expect(claims()).toEqual([false, true]);
  cleanUp();
  open(SettingsDialog);
  expect(said()).not.toContain("since the room began");
});

test.each([
  ["the settings", SettingsDialog, "settings" as RoomDialog, ["Topic", "New people", "Slow mode", "Keep messages"]],
  [
    "a member",
    MemberDialog,
    { about: "member", device: LINH.device } as RoomDialog,
    ["Mute", "Change role", "Delete all their messages"],
  ],
  ["those who are banned", BannedDialog, "banned" as RoomDialog, ["Kim", "Kim"]],
])("every step in the dialog of %s is explained in a sentence", (_, shown, dialog, steps) => {
  open(shown, { dialog });
  const closed = () => [...document.querySelectorAll<HTMLButtonElement>("button[aria-expanded=false]")];
  const sentences = closed().map((button) => {
    button.click();
    flushSync();
    const form = document.querySelector(`form[id="${button.getAttribute("aria-controls")}"]`);
    return document.getElementById(form?.getAttribute("aria-describedby") ?? "")?.textContent ?? "";
  });
  expect(sentences).toHaveLength(steps.length);
  for (const sentence of sentences) expect(sentence).toMatch(/^[A-Z].{30,}\.$/);
});

test.each([
  ["remove", { about: "remove", device: LINH.device }],
  ["ban", { about: "ban", device: LINH.device }],
  ["rotate", "rotate"],
  ["history", "history"],
] as const)("what a new key does is said before it is made (%s)", (_, dialog) => {
  open(RekeyDialog, { dialog });
  expect(document.querySelector("form > p")?.textContent).toMatch(/^[A-Z].{30,}\.$/);
  expect(document.querySelectorAll(".happens li")).toHaveLength(3);
});

test("a step says what it does before it is taken", async () => {
  const { room, actions } = open(SettingsDialog);
  press("Lock the room");
  expect(said()).toContain("nobody new can come in, not even with the right password");
  expect(actions.calls).toEqual([]);
  press("Lock the room");
  await vi.waitFor(() => expect(room.locked).toBe(true));
  await vi.waitFor(() => expect(buttons("Unlock the room")).toHaveLength(1));
});

test("a step that was refused says why and can be taken again", async () => {
  const { room, actions } = open(SettingsDialog);
  actions.refusal = { code: "chain_moved" };
  press("Lock the room");
  press("Lock the room");
  await vi.waitFor(() => expect(said()).toContain("Somebody else changed the room"));
  actions.refusal = null;
  press("Lock the room");
  await vi.waitFor(() => expect(room.locked).toBe(true));
});

test("erasing by age takes a tick, keeping longer does not", async () => {
  const { room } = open(SettingsDialog);
  press("Change: Keep messages");
  choose(WEEK_MS);
  expect(said()).toContain("Everything older than 7 days is erased for everyone, for ever");
  expect(buttons("Erase older messages")[0]?.disabled).toBe(true);
  document.querySelector<HTMLInputElement>('input[type="checkbox"]')?.click();
  flushSync();
  press("Erase older messages");
  await vi.waitFor(() => expect(room.retentionMs).toBe(Number(WEEK_MS)));
  press("Change: Keep messages");
  choose("0");
  expect(document.querySelector('input[type="checkbox"]')).toBeNull();
  press("Save");
  await vi.waitFor(() => expect(room.retentionMs).toBe(0));
});

test("who may change nothing reads how the room is set and finds nothing to press", () => {
  open(SettingsDialog, { set: powerless });
  expect(said()).toContain("One message every 30 seconds");
  expect(buttons("Change: Topic")).toHaveLength(0);
  expect(said()).not.toContain("Delete the room");
  expect(said()).not.toContain("Hand over the room");
});

test("a member is muted for the time that was chosen", async () => {
  const { actions } = open(MemberDialog, { dialog: { about: "member", device: LINH.device } });
  press("Mute");
  choose("lifted");
  press("Mute");
  await vi.waitFor(() => expect(actions.calls).toEqual([`mute ${LINH.device} Infinity`]));
  await vi.waitFor(() => expect(document.activeElement).toBe(buttons("Unmute")[0]));
});

test("two people of one name are told apart, and each has a safety number", () => {
  open(MemberDialog, { dialog: { about: "member", device: SAM.device } });
  expect(said()).toContain("Somebody else here goes by this name");
  expect(said()).toContain(SAM.fingerprint);
  expect(document.querySelector(".number")?.textContent?.trim().split(/\s+/)).toHaveLength(8);
});

test("who is looked at and leaves takes the dialog along", () => {
  const { room, onclose } = open(MemberDialog, { dialog: { about: "member", device: LINH.device } });
  room.members = room.members.filter((each) => each !== LINH);
  flushSync();
  expect(onclose).toHaveBeenCalled();
});

test("a removal shows the new password, who was left out, and the links that ended", async () => {
  const { actions, room } = open(RekeyDialog, { dialog: { about: "ban", device: LINH.device } });
  await vi.waitFor(() => expect(document.querySelector("input")?.value).not.toBe(""));
  press("Ban");
  await vi.waitFor(() => expect(said()).toContain("Linh is banned"), { timeout: 5000 });
  expect(actions.calls).toContain(`rekey ban ${LINH.device}`);
  expect(said()).toContain(await actions.suggestPassphrase());
  expect(said()).toContain("Kim had never opened the room with its last key");
  // Of three links one had ended by itself: it is not offered again.
  expect(
    [...document.querySelectorAll("button")].filter((one) => nameOf(one).startsWith("Make a new link")),
  ).toHaveLength(2);
  expect(room.members.some((each) => each.device === LINH.device)).toBe(false);
});

test("the progress of a new key begins at its first line and never goes back", async () => {
  const { actions } = open(RekeyDialog, { dialog: "rotate" });
  const shown: number[] = [];
  const lines = () => [...document.querySelectorAll(".progress li")];
  const look = () => {
    const at = lines().findIndex((line) => line.getAttribute("aria-current") === "step");
    if (at >= 0 && at !== shown.at(-1)) shown.push(at);
  };
  const watching = new MutationObserver(look);
  watching.observe(document.body, { subtree: true, childList: true, attributes: true });
  await vi.waitFor(() => expect(document.querySelector("input")?.value).not.toBe(""));
  press("Replace the key");
  await vi.waitFor(() => expect(said()).toContain("The room has a new key"), { timeout: 5000 });
  watching.disconnect();
  expect(actions.calls).toHaveLength(1);
  expect(shown).toEqual([0, 1, 2, 3]);
});

const shownKey = () => document.querySelector<HTMLTextAreaElement>("textarea")?.value;

function tickSaved(): void {
  document.querySelector<HTMLInputElement>('input[type="checkbox"]')?.click();
  flushSync();
}

test("a new recovery key is saved before the old one stops working", async () => {
  const { actions, onclose, room } = open(RekeyDialog, { dialog: "recovery", set: (of) => (of.recoveryAstray = true) });
  expect(said()).toContain("The old recovery key stops working");
  await vi.waitFor(() => expect(document.querySelector("input")?.value).not.toBe(""));
  press("Make a new key");
  await vi.waitFor(() => expect(shownKey()).toBe(RECOVERY_KEY));
  const leaves = () => !window.dispatchEvent(new Event("beforeunload", { cancelable: true }));
  expect([buttons("Make a new key")[0]?.disabled, leaves(), actions.calls]).toEqual([true, true, []]);
  tickSaved();
  expect([buttons("Make a new key")[0]?.disabled, leaves()]).toEqual([false, false]);
  press("Make a new key");
  await vi.waitFor(() => expect(said()).toContain("The room has a new recovery key"), { timeout: 5000 });
  expect(said()).toContain("The recovery key that you saved is this room's from now on");
  expect(actions.calls).toEqual(["rekey remove  and recovery"]);
  expect(room.recoveryAstray).toBe(false);
  press("Done");
  expect(onclose).toHaveBeenCalled();
});

test("a new recovery key stays to be seen when nobody can say whether the room has it", async () => {
  const { actions } = open(RekeyDialog, { dialog: "recovery" });
  await vi.waitFor(() => expect(document.querySelector("input")?.value).not.toBe(""));
  actions.refusal = { code: "offline" };
  press("Make a new key");
  await vi.waitFor(() => expect(shownKey()).toBe(RECOVERY_KEY));
  tickSaved();
  press("Make a new key");
  await vi.waitFor(() => expect(said()).toContain("Keep both"), { timeout: 5000 });
  expect(shownKey()).toBe(RECOVERY_KEY);
  expect(!window.dispatchEvent(new Event("beforeunload", { cancelable: true }))).toBe(true);
  // Trying again takes the same one, which is saved already.
  actions.refusal = null;
  press("Make a new key");
  await vi.waitFor(() => expect(said()).toContain("The room has a new recovery key"), { timeout: 5000 });
  expect(actions.calls).toEqual(["rekey remove  and recovery", "rekey remove  and recovery"]);
});

test("a server that holds another recovery key than the room's keeps nobody from being removed", async () => {
  const { actions } = open(RekeyDialog, { dialog: "rotate" });
  await vi.waitFor(() => expect(document.querySelector("input")?.value).not.toBe(""));
  expect(document.querySelector('input[type="checkbox"]')).toBeNull();
  actions.refusal = { code: "not_allowed" };
  press("Replace the key");
  await vi.waitFor(() => expect(said()).toContain("It may hold another recovery key"), { timeout: 5000 });
  expect(document.querySelector<HTMLInputElement>('input[type="checkbox"]')?.checked).toBe(true);
  actions.refusal = null;
  press("Replace the key");
  await vi.waitFor(() => expect(shownKey()).toBe(RECOVERY_KEY));
  tickSaved();
  press("Replace the key");
  await vi.waitFor(() => expect(said()).toContain("The room has a new key"), { timeout: 5000 });
  expect(actions.calls).toEqual(["rekey remove ", "rekey remove  and recovery"]);
});

test("whom the server treats as an owner though nobody made it one is shown, and can be set right", async () => {
  const set = (of: FixtureRoom) => {
    governed(of);
    const shown = { ...LINH, serverRole: "owner" as const };
    of.members = of.members.map((each) => (each.device === LINH.device ? shown : each));
  };
  const { actions } = open(MemberDialog, { dialog: { about: "member", device: LINH.device }, set });
  expect(said()).toContain("The server treats Linh as an owner");
  buttons("Change role")[0]?.click();
  flushSync();
  const submit = () => buttons("Change role").find(({ type }) => type === "submit");
  expect(submit()?.disabled).toBe(false);
  submit()?.click();
  await vi.waitFor(() => expect(actions.calls).toEqual([`role ${LINH.device} member`]));
});

test("removing who may have the recovery key replaces it unless that is switched off", async () => {
  const member = { ...LINH, mayHaveRecovery: true };
  const set = (of: FixtureRoom) => {
    governed(of);
    of.members = of.members.map((each) => (each.device === LINH.device ? member : each));
  };
  const tick = () => document.querySelector<HTMLInputElement>('input[type="checkbox"]');
  const { actions } = open(RekeyDialog, { dialog: { about: "ban", device: LINH.device }, set });
  expect([tick()?.checked, said().includes("Linh may have the recovery key")]).toEqual([true, true]);
  await vi.waitFor(() => expect(document.querySelector("input")?.value).not.toBe(""));
  press("Ban");
  await vi.waitFor(() => expect(shownKey()).toBe(RECOVERY_KEY));
  tickSaved();
  press("Ban");
  await vi.waitFor(() => expect(said()).toContain("Linh is banned"), { timeout: 5000 });
  expect(actions.calls).toEqual([`rekey ban ${LINH.device} and recovery`]);
});

test("a new recovery key is offered with every removal, to owners alone", () => {
  open(RekeyDialog, { dialog: { about: "remove", device: LINH.device } });
  expect(document.querySelector<HTMLInputElement>('input[type="checkbox"]')?.checked).toBe(false);
  cleanUp();
  document.body.replaceChildren();
  const set = (of: FixtureRoom) => {
    governed(of);
    of.may = { ...of.may, recovery: false };
  };
  open(RekeyDialog, { dialog: { about: "remove", device: LINH.device }, set });
  expect(document.querySelector('input[type="checkbox"]')).toBeNull();
});

test("a weak password begins no removal", async () => {
  const { actions } = open(RekeyDialog, { dialog: { about: "remove", device: LINH.device } });
  await vi.waitFor(() => expect(document.querySelector("input")?.value).not.toBe(""));
  const input = document.querySelector("input");
  if (input === null) throw new Error("no password field");
  input.value = "kitten";
  input.dispatchEvent(new InputEvent("input", { bubbles: true }));
  flushSync();
  press("Remove");
  await vi.waitFor(() => expect(said()).toContain("too easy to guess"));
  expect(actions.calls).toEqual([]);
});

test("a dialog whose result must not be missed cannot be closed while it works", async () => {
  const { actions, onclose } = open(RekeyDialog, { dialog: "rotate" });
  actions.administration.stopRekey = { step: "sealing", done: 3, all: 6 };
  await vi.waitFor(() => expect(document.querySelector("input")?.value).not.toBe(""));
  press("Replace the key");
  await vi.waitFor(() => expect(said()).toContain("3 of 6"));
  document.querySelector("dialog")?.close();
  expect(onclose).not.toHaveBeenCalled();
  expect(document.querySelector("dialog")?.open).toBe(true);
});

test.each([
  ["a new key", RekeyDialog, "rotate", "Replace the key", "The room has a new key"],
  ["a new password", PasswordDialog, "password", "Change the password", "The password has been changed"],
] as const)("a page that is left asks first, from the beginning of %s until its password was seen", async (...of) => {
  const [, shown, dialog, submit, done] = of;
  const { onclose } = open(shown, { dialog });
  const asks = () => !window.dispatchEvent(new Event("beforeunload", { cancelable: true }));
  await vi.waitFor(() => expect(document.querySelector("input")?.value).not.toBe(""));
  expect(asks()).toBe(false);
  press(submit);
  await vi.waitFor(() => expect(document.querySelector("dialog")?.ariaBusy).toBe("true"));
  expect(asks()).toBe(true);
  await vi.waitFor(() => expect(said()).toContain(done), { timeout: 5000 });
  expect(asks()).toBe(true);
  press("Done");
  expect(onclose).toHaveBeenCalled();
  cleanUp();
  expect(asks()).toBe(false);
});

test("the only owner is led to hand the room over instead of leaving it", () => {
  const { ondialog } = open(LeaveDialog, { dialog: "leave" });
  expect(buttons("Leave room")).toHaveLength(0);
  press("Hand over the room");
  expect(ondialog).toHaveBeenCalledWith("transfer");
});
