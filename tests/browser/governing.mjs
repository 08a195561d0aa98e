// Looking after a room by its page: what stands in its settings and beside its people.

import { eventually } from "./waiting.mjs";

/** Takes one step of an open dialog: `open` is the name of its button, `submit` what the second one says. */
async function takeStep(dialog, open, submit, fill = async () => {}) {
  await dialog.getByRole("button", { name: open, exact: true, expanded: false }).click();
  const form = dialog.getByRole("form");
  await fill(form);
  await form.getByRole("button", { name: submit, exact: true }).click();
  return form;
}

export async function closeDialog(person) {
  const dialog = person.page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Close", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
}

export async function openSettings(person) {
  await person.fromMenu("Room settings");
  const dialog = person.page.getByRole("dialog", { name: "Room settings" });
  await dialog.waitFor();
  return dialog;
}

/** One step of the room's settings, from opening them to closing them. */
async function setting(person, open, submit, fill) {
  const dialog = await openSettings(person);
  const form = await takeStep(dialog, open, submit, fill);
  await form.waitFor({ state: "detached" });
  await closeDialog(person);
}

export const setTopic = (person, topic) =>
  setting(person, "Change: Topic", "Save", (form) => form.getByLabel("Topic").fill(topic));

/** The topic below the room's name. */
export const topicOf = (person) => person.page.locator("header .topic bdi");

export const lock = (person) => setting(person, "Lock the room", "Lock the room");
export const unlock = (person) => setting(person, "Unlock the room", "Unlock the room");

export const setSlow = (person, choice) =>
  setting(person, "Change: Slow mode", "Save", (form) =>
    form.getByLabel("Time between two messages").selectOption({ label: choice }),
  );

export const setRetention = (person, choice) =>
  setting(person, "Change: Keep messages", "Erase older messages", async (form) => {
    await form.getByLabel("Erase messages older than").selectOption({ label: choice });
    await form.getByLabel("I understand that older messages will be lost").check();
  });

/** Puts a password of one's own in the place of the one that the page suggests. */
async function fillPassword(dialog, password) {
  const field = dialog.getByLabel("New room password", { exact: true });
  await eventually("a password is suggested", async () => (await field.inputValue()) !== "");
  await field.fill(password);
}

export async function changePassword(person, password) {
  const settings = await openSettings(person);
  await settings.getByRole("button", { name: "Change: Password" }).click();
  const dialog = person.page.getByRole("dialog", { name: "Change the password" });
  await fillPassword(dialog, password);
  await dialog.getByRole("button", { name: "Change the password" }).click();
  const done = person.page.getByRole("dialog", { name: "The password has been changed" });
  await done.getByText(password, { exact: true }).waitFor();
  await done.getByRole("button", { name: "Done" }).click();
}

export async function handOver(person, heir) {
  const settings = await openSettings(person);
  await settings.getByRole("button", { name: "Hand over the room" }).click();
  const dialog = person.page.getByRole("dialog", { name: "Hand over the room" });
  await dialog.getByLabel("New owner").selectOption({ label: heir });
  await dialog.getByRole("button", { name: "Hand over" }).click();
  await dialog.waitFor({ state: "detached" });
}

/** The sentences of the audit list, newest first. */
export async function audit(person) {
  const settings = await openSettings(person);
  await settings.getByRole("button", { name: "Show what was changed, and by whom" }).click();
  const dialog = person.page.getByRole("dialog", { name: "What was changed, and by whom" });
  await dialog.locator("ol li").first().waitFor();
  const sentences = await dialog.locator("ol li p").allInnerTexts();
  await closeDialog(person);
  return sentences;
}

/** The line of a member beside the room; on a narrow page it has to be opened first. */
export function memberLine(person, name) {
  const { page } = person;
  const lines = page.getByRole("complementary", { name: "People" }).getByRole("button");
  return lines.filter({ has: page.locator("bdi").getByText(name, { exact: true }) });
}

export async function openMember(person, name) {
  await memberLine(person, name).first().click();
  const dialog = person.page.getByRole("dialog", { name: "Member" });
  await dialog.waitFor();
  return dialog;
}

async function memberStep(person, name, open, submit, fill) {
  const dialog = await openMember(person, name);
  const form = await takeStep(dialog, open, submit, fill);
  await form.waitFor({ state: "detached" });
  await closeDialog(person);
}

export const mute = (person, name, choice) =>
  memberStep(person, name, "Mute", "Mute", (form) => form.getByLabel("For how long").selectOption({ label: choice }));
export const unmute = (person, name) => memberStep(person, name, "Unmute", "Unmute");
export const setRole = (person, name, role) =>
  memberStep(person, name, "Change role", "Change role", (form) =>
    form.getByLabel("Role", { exact: true }).selectOption({ label: role }),
  );
export const eraseMember = (person, name) =>
  memberStep(person, name, "Delete all their messages", "Delete all messages");

/** Opens the dialog that removes or bans, with a new password filled in; the answer is the dialog. */
export async function beginRemoval(person, name, password, { ban = false } = {}) {
  const dialog = await openMember(person, name);
  await dialog.getByRole("button", { name: ban ? "Ban this device" : "Remove from the room" }).click();
  const removal = person.page.getByRole("dialog", { name: `${ban ? "Ban" : "Remove"} ${name}?` });
  await fillPassword(removal, password);
  return removal;
}

/** Removes somebody and waits until it is done; the answer is the dialog that says so. */
export async function remove(person, name, password, options = {}) {
  const removal = await beginRemoval(person, name, password, options);
  await removal.getByRole("button", { name: options.ban ? "Ban" : "Remove", exact: true }).click();
  const done = person.page.getByRole("dialog", { name: `${name} is ${options.ban ? "banned" : "removed"}` });
  await done.getByText(password, { exact: true }).waitFor();
  return done;
}

/** Replaces the room's key without removing anyone. */
export async function replaceKey(person, password) {
  const settings = await openSettings(person);
  await settings.getByRole("button", { name: "Replace the room's key" }).click();
  const dialog = person.page.getByRole("dialog", { name: "Replace the room's key?" });
  await fillPassword(dialog, password);
  await dialog.getByRole("button", { name: "Replace the key" }).click();
  const done = person.page.getByRole("dialog", { name: "The room has a new key" });
  await done.getByRole("button", { name: "Done" }).click();
}

/** Shows those who come from now on nothing of what was written before. */
export async function closeHistory(person, password) {
  const settings = await openSettings(person);
  await settings.getByRole("button", { name: "Close the history to newcomers" }).click();
  const dialog = person.page.getByRole("dialog", { name: "Close the history to newcomers?" });
  await fillPassword(dialog, password);
  const shown = await watchProgress(person);
  await dialog.getByRole("button", { name: "Close the history", exact: true }).click();
  const done = person.page.getByRole("dialog", { name: "The history is closed to newcomers" });
  await done.getByText(password, { exact: true }).waitFor();
  await done.getByRole("button", { name: "Done" }).click();
  return shown();
}

/** Notes at which line the progress of a new key stands, as often as that changes. Call the answer for the lines so far. */
async function watchProgress({ page }) {
  await page.evaluate(() => {
    window.progressLines = [];
    const look = () => {
      const lines = [...document.querySelectorAll(".progress li")];
      const at = lines.findIndex((line) => line.getAttribute("aria-current") === "step");
      if (at >= 0 && at !== window.progressLines.at(-1)) window.progressLines.push(at);
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
  });
  return () => page.evaluate(() => window.progressLines);
}

/** The numbers that the trust panel shows: the room's (null where it says why there is none), and everyone's by their names. */
export async function numbers(person) {
  await person.fromMenu("About security");
  const dialog = person.page.getByRole("dialog", { name: "Trust in this room" });
  await dialog.waitFor();
  const own = dialog.getByRole("region", { name: "This room's number" }).locator(".number");
  const room = (await own.count()) === 0 ? null : plain(await own.innerText());
  const people = {};
  for (const line of await dialog.getByRole("listitem").filter({ has: person.page.locator(".number") }).all()) {
    people[await line.locator("bdi").innerText()] = plain(await line.locator(".number").innerText());
  }
  const text = await dialog.innerText();
  await closeDialog(person);
  return { room, people, text };
}

const plain = (number) => number.trim().split(/\s+/).join(" ");
/**
 * Takes the new recovery key that a dialog shows before it does what `submit` says, ticks that it is saved, and goes on until
 * `done` is shown, which is closed. Until the tick nothing goes on.
 */
export async function keepRecoveryKey(person, submit, done) {
  const shown = person.page.getByRole("dialog", { name: "Keep the new recovery key" });
  const key = await shown.getByLabel("Recovery key", { exact: true }).inputValue();
  const go = shown.getByRole("button", { name: submit, exact: true });
  if (await go.isEnabled()) throw new Error("the old recovery key can go before the new one is saved");
  await shown.getByLabel("I saved the recovery key").check();
  await go.click();
  const end = person.page.getByRole("dialog", { name: done });
  await end.getByRole("button", { name: "Done" }).click();
  await end.waitFor({ state: "detached" });
  return key;
}

/** Makes a new recovery key in the dialog that `open` leads to; the answer is the key. */
export async function replaceRecoveryKey(person, password, open) {
  await open();
  const dialog = person.page.getByRole("dialog", { name: "Make a new recovery key?" });
  await fillPassword(dialog, password);
  await dialog.getByRole("button", { name: "Make a new key" }).click();
  return keepRecoveryKey(person, "Make a new key", "The room has a new recovery key");
}
