// Somebody is removed: what it does to them, to those who remain, and to who is away meanwhile.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { remove, replaceKey } from "../governing.mjs";
import { closeBrowser, eventually, PASSWORD, Person, Snug } from "../harness.mjs";

const NEW_PASSWORD = "copper meadow eleven violin harbour";
const BANNED = "This device is banned from the room";

describe("removing somebody", () => {
  let snug;
  let ana;
  let ben;
  let cleo;
  before(async () => {
    snug = await Snug.start();
    [ana, ben, cleo] = await Promise.all(["Ana", "Ben", "Cleo"].map((name) => Person.arrive(name, snug.url)));
  });
  after(async () => {
    await closeBrowser();
    await snug.stop();
  });

  /** A new room with all three in it; the answer is its first invite. */
  async function meet(room) {
    const { link } = await ana.createRoom(room);
    await Promise.all([ben.join(room), cleo.join(room)]);
    await ana.page.getByText("3 of 3 people here").waitFor();
    return link;
  }

  const removeCleo = async (options) =>
    (await remove(ana, "Cleo", NEW_PASSWORD, options)).getByRole("button", { name: "Done" }).click();

  /** Nothing reaches this person, or comes from there, until `reconnect`. An open socket would live on, so the node ends them all. */
  async function cutOff(person) {
    await person.context.setOffline(true);
    await snug.kill();
    await snug.restart();
  }

  const reconnect = (person) => person.context.setOffline(false);

  it("the text of who is removed while typing stays readable, and the page says what happened", async () => {
    await meet("Typing");
    await cleo.composer().fill("A sentence that was nev");
    await removeCleo();
    await cleo.page.getByText("The server says that you were removed from this room, and that it has a new password since.").waitFor();
    await cleo.page.getByText("A sentence that was nev", { exact: true }).waitFor();
    await cleo.page.getByRole("button", { name: "Copy what you were writing" }).waitFor();
    assert.equal(await cleo.composer().count(), 0);
    for (const person of [ana, ben]) {
      await person.isTold("Ana removed Cleo");
      await person.page.getByText("2 of 2 people here").waitFor();
    }
    await ben.say("And on we go");
    await ana.sees("And on we go");
    assert.equal(await cleo.message("And on we go").count(), 0);
    await cleo.page.reload();
    await cleo.openEnded("Typing");
    await cleo.page.getByText("A sentence that was nev", { exact: true }).waitFor();
  });

  it("the removed cannot come back by the old password or an old invite, only by the new password", async () => {
    const link = await meet("Doors");
    const done = await remove(ana, "Cleo", NEW_PASSWORD);
    await done.getByRole("heading", { name: "Invite links that ended" }).waitFor();
    await done.getByText(/^Made by you/).waitFor();
    await done.getByRole("button", { name: /^Make a new link in place of the one made by you/ }).click();
    const replaced = await done.getByLabel("Invite link", { exact: true }).inputValue();
    await done.getByRole("button", { name: "Done" }).click();
    await cleo.page.getByRole("button", { name: "Join again" }).click();
    await cleo.tryToJoin("Doors", PASSWORD);
    await cleo.page.getByRole("alert").getByText("No room with that name and password.").waitFor();
    await cleo.tab(link).then(async (page) => {
      await page.getByRole("button", { name: "Come in" }).click();
      await page.getByRole("alert").waitFor();
      assert.equal(await cleo.composer(page).count(), 0);
      await page.close();
    });
    await cleo.tryToJoin("Doors", NEW_PASSWORD);
    await cleo.isIn("Doors");
    await cleo.say("Sorry about that");
    for (const person of [ana, ben]) await person.sees("Sorry about that");
    const dora = await Person.comeByLink("Dora", replaced, "Doors");
    await dora.sees("Sorry about that");
    for (const person of [ana, ben, cleo, dora]) await person.findsNothingWrong();
    await dora.leave();
  });

  it("the banned comes back by nothing, until the ban is lifted", async () => {
    await meet("Gate");
    await removeCleo({ ban: true });
    await cleo.page.getByText("The server says that this device is banned from the room, and that no password lets it in.").waitFor();
    for (const person of [ana, ben]) await person.isTold("Ana banned Cleo");
    await ana.fromMenu("Invites");
    const invites = ana.page.getByRole("dialog", { name: "Invites" });
    await invites.getByText("No invite links right now.").waitFor();
    await invites.getByRole("button", { name: "Create link" }).click();
    const link = await invites.getByLabel("Invite link", { exact: true }).inputValue();
    await invites.getByRole("button", { name: "Close", exact: true }).click();
    await cleo.page.getByRole("button", { name: "Back to your rooms" }).last().click();
    await cleo.fillJoin("Gate", NEW_PASSWORD);
    await cleo.page.getByRole("alert").getByText(BANNED).waitFor();
    const page = await cleo.tab(link);
    await page.getByRole("button", { name: "Come in" }).click();
    await page.getByRole("alert").getByText(BANNED).waitFor();
    await page.close();
    await ana.page.getByRole("button", { name: "Banned devices (1)" }).click();
    const banned = ana.page.getByRole("dialog", { name: "Banned devices" });
    await banned.getByRole("button", { name: /^Unban Cleo/ }).click();
    await banned.getByRole("form").getByRole("button", { name: "Unban" }).click();
    await banned.getByText("No device is banned.").waitFor();
    await banned.getByRole("button", { name: "Close", exact: true }).click();
    await cleo.tryToJoin("Gate", NEW_PASSWORD);
    await cleo.isIn("Gate");
  });

  it("who is removed while away is told on coming back, and what they wrote meanwhile is shown and not sent", async () => {
    await meet("Away");
    await cutOff(cleo);
    await cleo.say("Written without a network");
    await removeCleo();
    await ben.say("Cleo cannot read this");
    await reconnect(cleo);
    await cleo.page.getByText("The server says that you were removed from this room, and that it has a new password since.").waitFor();
    await cleo.message("Written without a network").getByText("Not sent").waitFor();
    await ana.sees("Cleo cannot read this");
    for (const person of [ana, ben]) assert.equal(await person.message("Written without a network").count(), 0);
    assert.equal(await cleo.message("Cleo cannot read this").count(), 0);
    await cleo.page.reload();
    await cleo.openEnded("Away");
    await cleo.message("Written without a network").getByText("Not sent").waitFor();
  });

  it("those who remain write on and retype nothing, and what one wrote while away arrives once", async () => {
    await meet("Remaining");
    await ben.say("Before");
    await ana.sees("Before");
    await cutOff(ben);
    await ben.say("Written before I knew");
    await ben.edit("Before", "Before, edited while away");
    await removeCleo();
    await ana.say("After");
    await reconnect(ben);
    await ana.message("Before, edited while away").getByText("edited", { exact: true }).waitFor();
    await ana.sees("Written before I knew");
    await ben.sees("After");
    for (const person of [ana, ben]) {
      await person.page.reload();
      await person.sees("Written before I knew");
      // Rows are drawn again while the page loads; what counts is that it stays one.
      await eventually("it is there once", async () => (await person.message("Written before I knew").count()) === 1);
      await person.sees("Before, edited while away");
      await person.say(`${person.name} writes on`);
    }
    for (const person of [ana, ben]) {
      await person.sees("Ana writes on");
      await person.sees("Ben writes on");
      await eventually("it is still there once", async () => (await person.message("Written before I knew").count()) === 1);
      await person.findsNothingWrong();
    }
  });

  it("who is not given the newest key is told what to do, does it, and keeps what was being written", async () => {
    await meet("Left out");
    await cleo.say("Before");
    await ben.sees("Before");
    // The server has lost the key that was sealed to Cleo's device.
    const keys = /\/api\/rooms\/[^/]+\/epochs\/\d+\/keys/;
    await cleo.page.route(keys, async (route) => {
      const response = await route.fetch();
      const { key: _key, ...rest } = await response.json();
      await route.fulfill({ response, json: rest });
    });
    await replaceKey(ana, NEW_PASSWORD);
    await ben.say("Under the new key");
    await ana.sees("Under the new key");
    const banner = cleo.page.getByRole("region", { name: "The room has a new key that this device does not have" });
    await banner.getByText(/Ask someone inside for the new password, then join again/).waitFor();
    await cleo.page.getByText("You can write again once you have joined with the new password.").waitFor();
    await cleo.composer().fill("Can you hear me?");
    await cleo.composer().press("Enter");
    assert.equal(await cleo.composer().inputValue(), "Can you hear me?");
    await cleo.sees("Before");
    assert.equal(await cleo.message("Under the new key").count(), 0);
    await cleo.page.unroute(keys);
    await banner.getByRole("button", { name: "Join again" }).click();
    assert.equal(await cleo.page.getByLabel("Room name").inputValue(), "Left out");
    await cleo.tryToJoin("Left out", NEW_PASSWORD);
    await cleo.isIn("Left out");
    await cleo.sees("Under the new key");
    assert.equal(await cleo.composer().inputValue(), "Can you hear me?");
    await cleo.composer().press("Enter");
    for (const person of [ana, ben]) await person.sees("Can you hear me?");
    for (const person of [ana, ben, cleo]) await person.findsNothingWrong();
  });

  it("who was away while the key was replaced three times reads everything on coming back", async () => {
    await meet("Thrice");
    await cutOff(cleo);
    for (const round of [1, 2, 3]) {
      await replaceKey(ana, `${NEW_PASSWORD} ${round}`);
      await ana.say(`Under key ${round}`);
      await ben.sees(`Under key ${round}`);
      await ben.say(`Answered under key ${round}`);
      await ana.sees(`Answered under key ${round}`);
    }
    await reconnect(cleo);
    for (const round of [1, 2, 3]) {
      await cleo.sees(`Under key ${round}`);
      await cleo.sees(`Answered under key ${round}`);
    }
    await cleo.say("I have caught up");
    await ana.sees("I have caught up");
    const dora = await Person.arrive("Dora", snug.url);
    await dora.join("Thrice", `${NEW_PASSWORD} 3`);
    await dora.sees("Under key 1");
    await dora.sees("I have caught up");
    await eventually("nobody is told to join again", async () => (await cleo.page.getByText("Join again").count()) === 0);
    for (const person of [ana, ben, cleo, dora]) await person.findsNothingWrong();
    await dora.leave();
  });
});
