// A room's life with and without a browser: each side shows what the other changes, and each can remove the other.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { memberLine, remove, setTopic, topicOf } from "../governing.mjs";
import { closeBrowser, Person, Snug } from "../harness.mjs";
import { SdkPerson } from "../sdk-person.mjs";

const NEW_PASSWORD = "copper meadow eleven violin harbour";

describe("a room's life with and without a browser", () => {
  let snug;
  before(async () => (snug = await Snug.start()));
  after(async () => {
    SdkPerson.endAll();
    await closeBrowser();
    await snug.stop();
  });

  it("what one side changes in a message the other shows", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Both ways");
    const rob = new SdkPerson("Rob", snug.url);
    await rob.join("Both ways");
    await ana.say("From the page");
    await rob.sees("From the page");
    const { seq } = await rob.seesEvent({ is: "message", text: "From the page" });
    await rob.react("From the page", "👍");
    await ana.reaction("From the page", "👍 Rob").waitFor();
    await rob.react("From the page", "👍", false);
    await ana.reaction("From the page", "👍").waitFor({ state: "detached" });
    await rob.pin("From the page");
    await ana.page.getByRole("button", { name: "Go to the pinned message of Ana: From the page" }).waitFor();
    await rob.reply("From the page", "From the SDK");
    await ana.message("From the SDK").getByRole("button", { name: "In reply to Ana: From the page" }).waitFor();

    await ana.edit("From the page", "Changed in the page");
    await rob.seesEvent({ is: "edited", seq, text: "Changed in the page" });
    await ana.react("From the SDK", "❤️");
    await rob.seesEvent({ is: "reacted", emoji: "❤️", on: true });
    await ana.choose("Changed in the page", "Unpin");
    await rob.seesEvent({ is: "pinned", seq, on: false });
    await rob.sees("From the SDK");
    await rob.edit("From the SDK", "Changed by the SDK");
    await ana.message("Changed by the SDK").getByText("edited", { exact: true }).waitFor();
    await ana.delete("Changed in the page");
    await rob.seesEvent({ is: "deleted", seq });
    await ana.message("Changed by the SDK").getByText("A deleted message of Ana").waitFor();
    await rob.delete("From the SDK");
    await ana.isTold("Rob deleted a message");
    await ana.findsNothingWrong();
    assert.deepEqual(rob.faults, []);
    assert.deepEqual(await rob.violations(), []);
    for (const person of [ana, rob]) await person.leave();
  });

  it("the SDK governs a room with pages in it, and removes one of them", async () => {
    const rob = new SdkPerson("Rob", snug.url);
    await rob.createRoom("Governed from afar");
    const ana = await Person.arrive("Ana", snug.url);
    const cleo = await Person.arrive("Cleo", snug.url);
    for (const person of [ana, cleo]) await person.join("Governed from afar");
    await rob.seesJoin("Ana");
    await rob.seesJoin("Cleo");
    await rob.setTopic("Said without a browser");
    for (const person of [ana, cleo]) {
      await person.isTold("Rob set the topic: “Said without a browser”");
      await topicOf(person).getByText("Said without a browser", { exact: true }).waitFor();
    }
    await rob.setRole("Ana", "moderator");
    for (const person of [ana, cleo]) {
      await person.isTold("Rob made Ana a moderator");
      await memberLine(person, "Ana").getByText("Moderator").waitFor();
    }
    await rob.remove("Cleo", NEW_PASSWORD);
    await cleo.page.getByText("The server says that you were removed from this room").waitFor();
    await ana.isTold("Rob removed Cleo");
    await ana.say("Only the two of us");
    await rob.sees("Only the two of us");
    await rob.say("So it is");
    await ana.sees("So it is");
    assert.equal(await cleo.message("So it is").count(), 0);
    await cleo.page.getByRole("button", { name: "Join again" }).click();
    await cleo.tryToJoin("Governed from afar", NEW_PASSWORD);
    await cleo.isIn("Governed from afar");
    await cleo.say("Forgiven");
    for (const person of [ana, rob]) await person.sees("Forgiven");
    for (const person of [ana, cleo]) await person.findsNothingWrong();
    assert.deepEqual(await rob.violations(), []);
    for (const person of [ana, cleo, rob]) await person.leave();
  });

  it("a page removes the SDK, and those who remain go on, with a browser and without", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Governed by a page");
    const [rob, sue] = [new SdkPerson("Rob", snug.url), new SdkPerson("Sue", snug.url)];
    await rob.join("Governed by a page");
    await sue.join("Governed by a page");
    await ana.page.getByText("Sue joined").waitFor();
    await setTopic(ana, "Said in a page");
    await sue.seesEvent({ is: "step", step: { type: "topic", topic: "Said in a page" } });
    const done = await remove(ana, "Rob", NEW_PASSWORD);
    await done.getByRole("button", { name: "Done" }).click();
    await rob.seesEvent({ is: "closed", code: "removed" });
    await sue.seesEvent({ is: "epoch", epoch: 1 });
    await ana.say("Under the new key");
    await sue.sees("Under the new key");
    await sue.say("Which I was given");
    await ana.sees("Which I was given");
    await assert.rejects(rob.join("Governed by a page"), /wrong_credentials/);
    await rob.join("Governed by a page", NEW_PASSWORD);
    await rob.say("Back again");
    await ana.sees("Back again");
    await ana.findsNothingWrong();
    assert.deepEqual(await sue.violations(), []);
    for (const person of [ana, rob, sue]) await person.leave();
  });
});
