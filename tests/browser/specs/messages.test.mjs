// What becomes of a message: answers, edits, deletions, reactions, mentions and pins, for those who are there and for who comes later.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeBrowser, eventually, Person, Snug } from "../harness.mjs";
import { SdkPerson } from "../sdk-person.mjs";

const ROOM = "Sunday kitchen";
/** More than the newest page and what is loaded above it by itself. */
const LINES = 260;

/** The bytes that the page sends, an array that grows. */
function sentBy(page) {
  const frames = [];
  page.on("websocket", (socket) =>
    socket.on("framesent", ({ payload }) => {
      if (typeof payload !== "string") frames.push(Buffer.from(payload));
    }),
  );
  return frames;
}

describe("what becomes of a message", () => {
  let snug;
  let ana;
  let ben;
  let cleo;
  before(async () => {
    snug = await Snug.start();
    ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom(ROOM);
    ben = await Person.arrive("Ben", snug.url);
    cleo = await Person.arrive("Cleo", snug.url);
    await Promise.all([ben.join(ROOM), cleo.join(ROOM)]);
    await ana.page.getByText("3 of 3 people here").waitFor();
  });
  after(async () => {
    SdkPerson.endAll();
    await closeBrowser();
    await snug.stop();
  });

  const everyone = () => [ana, ben, cleo];

  it("an answer shows what it answers, as that is now", async () => {
    await ana.say("Who brings the bread?");
    await ben.sees("Who brings the bread?");
    await ben.reply("Who brings the bread?", "I do");
    for (const person of everyone()) {
      await person.message("I do").getByRole("button", { name: "In reply to Ana: Who brings the bread?" }).waitFor();
    }
    await ana.edit("Who brings the bread?", "Who brings the wine?");
    for (const person of everyone()) {
      await person.message("I do").getByRole("button", { name: "In reply to Ana: Who brings the wine?" }).waitFor();
    }
    await ana.delete("Who brings the wine?");
    for (const person of everyone()) {
      const answer = person.message("I do");
      await answer.getByText("A deleted message of Ana").waitFor();
      await showsNowhere(person, "Who brings the");
    }
  });

  it("an edit is shown to everyone with the word “edited”, also after a reload", async () => {
    await ana.say("Tea at four");
    for (const person of everyone()) await person.sees("Tea at four");
    await ana.edit("Tea at four", "Tea at five");
    for (const person of everyone()) {
      await person.message("Tea at five").getByText("edited", { exact: true }).waitFor();
      assert.equal(await person.message("Tea at four").count(), 0);
    }
    await ben.page.reload();
    await ben.message("Tea at five").getByText("edited", { exact: true }).waitFor();
    await showsNowhere(ben, "Tea at four");
  });

  it("only one's own messages can be edited, and a member deletes nobody else's", async () => {
    await cleo.say("Mine alone");
    await ben.sees("Mine alone");
    const message = ben.message("Mine alone");
    await message.locator(".bubble").hover();
    await message.getByRole("button", { name: "More actions" }).click();
    const menu = ben.page.getByRole("menu", { name: "What to do with the message of Cleo" });
    await menu.getByRole("menuitem", { name: "Reply" }).waitFor();
    assert.equal(await menu.getByRole("menuitem", { name: "Edit" }).count(), 0);
    assert.equal(await menu.getByRole("menuitem", { name: "Delete" }).count(), 0);
    await ben.page.keyboard.press("Escape");
  });

  it("a deleted message leaves a line for everyone and nothing of it on the server", async () => {
    const sent = sentBy(ben.page);
    await ben.page.reload();
    await ben.isIn(ROOM);
    await ben.say("The key is under the mat");
    for (const person of everyone()) await person.sees("The key is under the mat");
    await eventually("it is sent", () => sent.length > 0);
    // Of a send frame, the kind, the id and the header come first; what follows is the sealed text.
    const sealed = sent.at(-1).subarray(1 + 4 + 76);
    assert.ok(sealed.length > 256 && snug.keeps(sealed));
    await ben.delete("The key is under the mat");
    await ben.isTold("You deleted a message");
    for (const person of [ana, cleo]) await person.isTold("Ben deleted a message");
    for (const person of everyone()) await showsNowhere(person, "under the mat");
    // The journal beside the database is emptied when that is closed.
    await snug.shutDown();
    assert.ok(!snug.keeps(sealed));
    await snug.restart();
  });

  it("an owner deletes a member's message, and the line says who it was", async () => {
    await cleo.say("Buy cheap watches");
    await ana.sees("Buy cheap watches");
    await ana.delete("Buy cheap watches");
    for (const person of [ana, ben]) await person.isTold(/(You|Ana) deleted a message of Cleo/);
    await cleo.isTold("Ana deleted your message");
  });

  it("reactions are counted, toggled and taken back", async () => {
    await ana.say("Soup is ready");
    for (const person of [ben, cleo]) await person.sees("Soup is ready");
    await ben.react("Soup is ready", "🎉");
    for (const person of everyone()) await person.reaction("Soup is ready", "🎉 Ben").getByText("1", { exact: true }).waitFor();
    await cleo.reaction("Soup is ready", "🎉").click();
    for (const person of everyone()) {
      await person.reaction("Soup is ready", "🎉 Ben and Cleo").getByText("2", { exact: true }).waitFor();
    }
    assert.equal(await cleo.reaction("Soup is ready", "🎉").getAttribute("aria-pressed"), "true");
    assert.equal(await ana.reaction("Soup is ready", "🎉").getAttribute("aria-pressed"), "false");
    await ben.reaction("Soup is ready", "🎉").click();
    for (const person of everyone()) await person.reaction("Soup is ready", "🎉 Cleo").getByText("1", { exact: true }).waitFor();
    await cleo.react("Soup is ready", "🎉");
    for (const person of everyone()) await person.reaction("Soup is ready", "🎉").waitFor({ state: "detached" });
    // Any other emoji, by its field.
    await ben.choose("Soup is ready", "Reply");
    await ben.page.keyboard.press("Escape");
    await ben.message("Soup is ready").locator(".bubble").hover();
    await ben.message("Soup is ready").getByRole("button", { name: "React", exact: true }).click();
    const form = ben.page.getByRole("dialog", { name: "React" });
    await form.getByLabel("Any emoji").fill("soup");
    await form.getByRole("button", { name: "React", exact: true }).click();
    await form.getByText("That is not one emoji").waitFor();
    await form.getByLabel("Any emoji").fill("🥣");
    await form.getByRole("button", { name: "React", exact: true }).click();
    await ana.reaction("Soup is ready", "🥣 Ben").waitFor();
  });

  it("a mention tells whom it names, and nobody else", async () => {
    await ana.composer().click();
    await ana.page.keyboard.type("Could @Be");
    await ana.page.getByRole("listbox", { name: "People to mention" }).getByRole("option", { name: "Ben" }).waitFor();
    await ana.page.keyboard.press("Enter");
    await ana.page.keyboard.type("stir the pot?");
    await ana.page.keyboard.press("Enter");
    for (const person of everyone()) await person.sees("@Ben stir the pot?");
    await ben.message("stir the pot?").getByText("Mentions you").waitFor();
    assert.match(await ben.message("stir the pot?").getAttribute("aria-label"), /Mentions you/);
    for (const person of [ana, cleo]) assert.equal(await person.message("stir the pot?").getByText("Mentions you").count(), 0);
    // The letters alone name nobody.
    await cleo.say("write to cleo@Ben.example");
    await ben.sees("cleo@Ben.example");
    assert.equal(await ben.message("cleo@Ben.example").getByText("Mentions you").count(), 0);
  });

  it("what is changed while the server is away is shown at once and arrives when it is back", async () => {
    await ana.say("Dinner at seven");
    await ben.sees("Dinner at seven");
    await snug.kill();
    await ana.edit("Dinner at seven", "Dinner at eight");
    await ana.message("Dinner at eight").waitFor();
    await ana.react("Soup is ready", "👍");
    await cleo.reply("Dinner at seven", "I am late");
    await snug.restart();
    for (const person of everyone()) {
      await person.message("Dinner at eight").getByText("edited", { exact: true }).waitFor();
      await person.reaction("Soup is ready", "👍 Ana").waitFor();
      await person.message("I am late").getByRole("button", { name: "In reply to Ana: Dinner at eight" }).waitFor();
    }
  });

  it("pins are listed and lead to their message, also far up where nothing is loaded, and so does a quote", async () => {
    await ana.say("Where it began");
    await ben.say("The old plan");
    for (const person of everyone()) await person.sees("The old plan");
    await ana.choose("Where it began", "Pin");
    await ben.page.getByRole("button", { name: "Go to the pinned message of Ana: Where it began" }).waitFor();
    await ben.choose("The old plan", "Pin");
    for (const person of everyone()) await person.page.getByRole("button", { name: "All 2 pinned messages" }).waitFor();
    const rob = new SdkPerson("Rob", snug.url);
    await rob.join(ROOM);
    await rob.sees("Where it began");
    for (let line = 1; line <= LINES; line++) await rob.say(`Line ${line}`);
    await rob.reply("Where it began", "That was long ago");
    for (const person of everyone()) await person.sees("That was long ago");

    const dora = await Person.arrive("Dora", snug.url);
    await dora.join(ROOM);
    const quote = dora.message("That was long ago").getByRole("button", { name: "In reply to Ana: Where it began" });
    await quote.click();
    await isLedTo(dora, "Where it began");
    await dora.page.getByRole("button", { name: "To the latest message" }).click();
    await isLedTo(dora, "That was long ago", { marked: false });
    await dora.page.getByRole("button", { name: "All 2 pinned messages" }).click();
    await dora.page.getByRole("button", { name: /Pinned by Ben/ }).click();
    await isLedTo(dora, "The old plan");

    // An old page shows what was changed and deleted since, to one who has never seen it otherwise.
    await ana.page.getByRole("button", { name: "All 2 pinned messages" }).click();
    await ana.page.getByRole("button", { name: /Pinned by Ana/ }).click();
    await isLedTo(ana, "Where it began");
    await ana.edit("Where it began", "Where it all began");
    await dora.message("Where it all began").getByText("edited", { exact: true }).waitFor();
    await ben.page.getByRole("button", { name: /^Go to the pinned message of Ben/ }).click();
    await isLedTo(ben, "The old plan");
    await ben.delete("The old plan");
    await dora.isTold("Ben deleted a message");
    const emil = await Person.arrive("Emil", snug.url);
    await emil.join(ROOM);
    await emil.page.getByRole("button", { name: /Where it all began$/ }).first().click();
    await isLedTo(emil, "Where it all began");
    await emil.message("Where it all began").getByText("edited", { exact: true }).waitFor();
    await emil.isTold("Ben deleted a message");
    await showsNowhere(emil, "The old plan");

    await ana.choose("Where it all began", "Unpin");
    for (const person of [ana, dora, emil]) {
      await person.page.getByRole("button", { name: /^Go to the pinned message of Ana/ }).waitFor({ state: "detached" });
    }
    for (const person of [...everyone(), dora, emil]) await person.findsNothingWrong();
    assert.deepEqual(await rob.violations(), []);
    for (const person of [dora, emil, rob]) await person.leave();
  });
});

/** Neither among the messages nor in a quote or pin. What was last read aloud stands elsewhere. */
async function showsNowhere(person, text) {
  assert.equal(await person.page.getByRole("main").getByText(text).count(), 0, `${person.name} sees “${text}” no more`);
}

/** The message is in sight, and where one was led there also marked. */
async function isLedTo(person, text, { marked = true } = {}) {
  const message = person.message(text).first();
  await eventually(`${person.name} is led to “${text}”`, async () => {
    if (!(await message.isVisible())) return false;
    const [box, view] = [await message.boundingBox(), person.page.viewportSize()];
    return box !== null && box.y >= 0 && box.y + box.height <= view.height;
  });
  if (marked) await eventually("it has the focus", () => message.evaluate((row) => row.contains(document.activeElement)));
}
