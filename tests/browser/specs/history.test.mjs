// What newcomers may read, and how long messages are kept.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { audit, closeHistory, numbers, openSettings, closeDialog, setRetention } from "../governing.mjs";
import { closeBrowser, PASSWORD, Person, Snug } from "../harness.mjs";

const NEW_PASSWORD = "copper meadow eleven violin harbour";

describe("a room's history", () => {
  let snug;
  let ana;
  let ben;
  before(async () => {
    snug = await Snug.start();
    [ana, ben] = await Promise.all(["Ana", "Ben"].map((name) => Person.arrive(name, snug.url)));
  });
  after(async () => {
    await closeBrowser();
    await snug.stop();
  });

  async function meet(room) {
    const { link } = await ana.createRoom(room);
    await ben.join(room);
    await ana.page.getByText("2 of 2 people here").waitFor();
    return link;
  }

  it("that is closed is not read by who comes later, while who was there reads all of it", async () => {
    const link = await meet("Diary");
    await ana.say("Between the two of us");
    await ben.sees("Between the two of us");
    const shown = await closeHistory(ana, NEW_PASSWORD);
    assert.deepEqual(shown, [...shown].sort(), "the progress went back");
    for (const person of [ana, ben]) await person.isTold("Ana closed the history to newcomers");
    await ben.say("For all from here on");
    await ana.sees("For all from here on");
    const dora = await Person.arrive("Dora", snug.url);
    await dora.fillJoin("Diary", PASSWORD);
    await dora.page.getByRole("alert").getByText("No room with that name and password.").waitFor();
    const late = await dora.tab(link);
    await late.getByLabel("Your name").fill("Dora");
    await late.getByRole("button", { name: "Come in" }).click();
    await late.getByRole("alert").waitFor();
    assert.equal(await dora.composer(late).count(), 0);
    await late.close();
    await dora.tryToJoin("Diary", NEW_PASSWORD);
    await dora.isIn("Diary");
    await dora.sees("For all from here on");
    assert.equal(await dora.page.getByText("Between the two of us").count(), 0);
    await dora.say("What did I miss?");
    for (const person of [ana, ben]) {
      await person.sees("What did I miss?");
      await person.page.reload();
      await person.sees("Between the two of us");
      await person.sees("What did I miss?");
    }
    for (const person of [ana, ben, dora]) await person.findsNothingWrong();

    // The newcomer's list and numbers claim nothing about what was before.
    assert.deepEqual(await audit(ben), ["Ana closed the history to newcomers", "Ana created the room"]);
    assert.deepEqual(await audit(dora), ["Ana closed the history to newcomers"]);
    const settings = await openSettings(dora);
    await settings.getByText("Only what was written since the history was last closed").waitFor();
    await settings.getByRole("button", { name: "Show what was changed, and by whom" }).click();
    const list = dora.page.getByRole("dialog", { name: "What was changed, and by whom" });
    await list.getByText(/as far back as this device can follow them/).waitFor();
    assert.equal(await list.getByText(/since it began/).count(), 0);
    await closeDialog(dora);
    const [hers, his] = [await numbers(dora), await numbers(ben)];
    assert.equal(hers.room, null);
    assert.match(hers.text, /You came after the history was closed to newcomers/);
    assert.match(his.room, /^(\d{5} ){7}\d{5}$/);
    await dora.leave();
  });

  it("loses messages on everyone's screen when they have reached the age that the room keeps them to", async () => {
    await meet("Snow");
    await ben.page.clock.install();
    await ben.page.reload();
    await ana.say("Gone with the hour");
    await ben.sees("Gone with the hour");
    await setRetention(ana, "1 hour");
    await ben.isTold("Ana set messages to be erased after 1 hour");
    await ben.page.clock.fastForward("58:00");
    await ben.sees("Gone with the hour");
    await ben.page.clock.fastForward("02:05");
    await ben.isTold(/was erased by age, as this room is set/);
    assert.equal(await ben.message("Gone with the hour").count(), 0);
    // For the others the hour is not over.
    await ana.sees("Gone with the hour");
    await ana.findsNothingWrong();
  });
});
