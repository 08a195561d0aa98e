// The main job, in real browsers: create a room, join it, talk, come later and read the history.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeBrowser, eventually, PASSWORD, Person, Snug } from "../harness.mjs";

describe("the main job", () => {
  let snug;
  before(async () => (snug = await Snug.start()));
  after(async () => {
    await closeBrowser();
    await snug.stop();
  });

  it("two people talk, see each other come and go, and a third who comes later reads it all", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Sunday kitchen");
    const ben = await Person.arrive("Ben", snug.url);
    await ben.join("sunday  Kitchen");
    await ana.page.getByText("Ben joined").waitFor();
    await ana.say("Who brings the bread?");
    await ben.sees("Who brings the bread?");
    await ben.say("Me. And **olives**");
    await ana.sees("Me. And olives");
    await ana.page.locator("strong", { hasText: "olives" }).waitFor();
    await ana.page.getByText("2 of 2 people here").waitFor();
    const cleo = await Person.arrive("Cleo", snug.url);
    await cleo.join("Sunday kitchen");
    await cleo.sees("Who brings the bread?");
    await cleo.sees("Me. And olives");
    assert.deepEqual(await cleo.texts(), ["Who brings the bread?", "Me. And olives"]);
    await cleo.say("I bring nothing but hunger");
    for (const person of [ana, ben]) await person.sees("nothing but hunger");
    await ben.leave();
    await ana.page.getByText("2 of 3 people here").waitFor();
    for (const person of [ana, cleo]) assert.deepEqual(person.faults, []);
    await ana.leave();
    await cleo.leave();
  });

  it("a long history scrolls back to its beginning", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Long story");
    for (let number = 1; number <= 180; number++) await ana.say(`Sentence ${number}.`);
    await ana.sees("Sentence 180.");
    await eventually("all are sent", async () => (await ana.page.getByText("Sending", { exact: true }).count()) === 0);
    const ben = await Person.arrive("Ben", snug.url);
    await ben.join("Long story");
    await ben.sees("Sentence 180.");
    const log = ben.page.getByRole("article").last();
    await log.hover();
    await eventually("the beginning is reached", async () => {
      await ben.page.mouse.wheel(0, -4_000);
      return ben.page.getByText("This is the beginning of the room").isVisible();
    });
    await ben.sees("Sentence 1.");
    assert.deepEqual(ben.faults, []);
    await ana.leave();
    await ben.leave();
  });

  it("whoever scrolls up as soon as a room opens is not thrown back to its end", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Long story, again");
    for (let number = 1; number <= 120; number++) await ana.say(`Sentence ${number}.`);
    await ana.sees("Sentence 120.");
    // So slow that the rows are still being measured when scrolling begins.
    const devtools = await ana.page.context().newCDPSession(ana.page);
    await devtools.send("Emulation.setCPUThrottlingRate", { rate: 2 });
    for (let opening = 0; opening < 4; opening++) {
      await ana.page.reload();
      await ana.openRoom("Long story, again");
      await ana.sees("Sentence 120.");
      const list = ana.page.getByRole("list", { name: /^Messages/ });
      const { x, y, width, height } = await list.boundingBox();
      await ana.page.mouse.move(x + width / 2, y + height / 2);
      await list.evaluate((scroller) => {
        scroller.dataset.thrownBack = "0";
        let away = false;
        scroller.addEventListener("scroll", () => {
          const below = scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop;
          if (away && below < 100) scroller.dataset.thrownBack = Number(scroller.dataset.thrownBack) + 1;
          away = below > 400;
        });
      });
      await eventually("the beginning is reached", async () => {
        await ana.page.mouse.wheel(0, -1_000);
        return ana.page.getByText("This is the beginning of the room").isVisible();
      });
      assert.equal(await list.getAttribute("data-thrown-back"), "0");
    }
    await ana.leave();
  });

  it("someone who closes the browser and comes back retypes nothing", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Return");
    await ana.say("Remember this");
    await ana.sees("Remember this");
    await ana.page.reload();
    await ana.isIn("Return");
    await ana.sees("Remember this");
    await ana.page.close();
    ana.page = await ana.tab(snug.url);
    await ana.openRoom("Return");
    await ana.sees("Remember this");
    await ana.say("And this");
    await ana.sees("And this");
    assert.deepEqual(ana.faults, []);
    await ana.leave();
  });

  it("leaving takes the room off the list, and the password brings one back", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Revolving door");
    const ben = await Person.arrive("Ben", snug.url);
    await ben.join("Revolving door");
    await ben.page.getByRole("button", { name: "Room menu" }).click();
    await ben.page.getByText("Leave room").first().click();
    await ben.page.getByRole("dialog").getByRole("button", { name: "Leave room" }).click();
    await ana.page.getByText(/Ben (left|came and went)/).waitFor();
    await ben.page.getByRole("button", { name: "Join a room" }).waitFor();
    const listed = ben.page.getByRole("navigation", { name: "Your rooms" }).getByText("Revolving door");
    await eventually("the room is off the list", async () => (await listed.count()) === 0);
    await ben.join("Revolving door");
    await ben.say("Back again");
    await ana.sees("Back again");
    await ana.leave();
    await ben.leave();
  });

  it("the owner deletes the room for everyone", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Short-lived");
    const ben = await Person.arrive("Ben", snug.url);
    await ben.join("Short-lived");
    await ana.page.getByRole("button", { name: "Room menu" }).click();
    await ana.page.getByText("Delete room").first().click();
    const dialog = ana.page.getByRole("dialog");
    await dialog.getByRole("textbox").fill("Short-lived");
    await dialog.getByRole("button", { name: "Delete for everyone" }).click();
    await ben.page.getByText("The server says that this room was deleted by its owner").waitFor();
    const eve = await Person.arrive("Eve", snug.url);
    await eve.fillJoin("Short-lived", PASSWORD);
    await eve.page.getByRole("alert").first().waitFor();
    for (const person of [ana, ben, eve]) await person.leave();
  });
});
