// People with and without a browser in one room: what the page seals the Rust SDK reads, and the reverse.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeBrowser, Person, Snug } from "../harness.mjs";
import { SdkPerson } from "../sdk-person.mjs";

/** The page shows these messages, each by whom it should be, and says “You” of its own. */
async function showsMessages(person, wanted) {
  assert.deepEqual(await person.texts(), wanted.map(([, text]) => text));
  const labels = await person.page.getByRole("article").evaluateAll((rows) => rows.map((row) => row.ariaLabel));
  for (const [at, [name]] of wanted.entries()) {
    const author = name === person.name ? "You" : name;
    assert.ok(labels[at].startsWith(`${author}, `), `${labels[at]} is by ${author}`);
  }
}

/** Neither side has seen anything that the promises exclude. */
async function allIsWell(pages, sdks) {
  for (const { page, faults } of pages) {
    assert.deepEqual(faults, []);
    assert.equal(await page.getByText("Something in this room's history does not add up").count(), 0);
    assert.equal(await page.getByText("A message that could not be verified was left out").count(), 0);
  }
  for (const sdk of sdks) {
    assert.deepEqual(sdk.faults, []);
    assert.deepEqual(await sdk.violations(), []);
  }
}

describe("people with and without a browser", () => {
  let snug;
  before(async () => (snug = await Snug.start()));
  after(async () => {
    SdkPerson.endAll();
    await closeBrowser();
    await snug.stop();
  });

  it("a room made in the page is joined by the SDK by password, and each reads what the other writes", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Mixed company");
    await ana.say("Before you came");
    await ana.say("Grüße, 世界 👋🏽");
    await ana.sees("Grüße, 世界");
    const rob = new SdkPerson("Røb 🧶", snug.url);
    assert.equal(await rob.join("mixed  COMPANY"), "Mixed company");
    await ana.page.getByText("Røb 🧶 joined").waitFor();
    await rob.seesJoin("Røb 🧶");
    assert.deepEqual(rob.messages(), [
      ["Ana", "Before you came"],
      ["Ana", "Grüße, 世界 👋🏽"],
    ]);
    await ana.page.getByText("2 of 2 people here").waitFor();
    await rob.isWith("Ana", "Røb 🧶");
    await rob.say("Hello from the command line");
    await ana.sees("Hello from the command line");
    await ana.say("Hello from the page");
    await rob.sees("Hello from the page");
    await rob.say("שלום ✅");
    await ana.sees("שלום ✅");
    await rob.sees("שלום ✅");
    const wanted = [
      ["Ana", "Before you came"],
      ["Ana", "Grüße, 世界 👋🏽"],
      ["Røb 🧶", "Hello from the command line"],
      ["Ana", "Hello from the page"],
      ["Røb 🧶", "שלום ✅"],
    ];
    assert.deepEqual(rob.messages(), wanted);
    await showsMessages(ana, wanted);
    await allIsWell([ana], [rob]);
    await rob.leaveRoom();
    await ana.page.getByText(/Røb 🧶 (left|came and went)/).waitFor();
    await rob.leave();
    await ana.leave();
  });

  it("an invite link made in the page lets the SDK in, and a link made by the SDK lets a page in", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    const { link } = await ana.createRoom("Either way");
    await ana.say("Come in");
    await ana.sees("Come in");
    const rob = new SdkPerson("Rob", snug.url);
    assert.equal(await rob.joinByLink(link), "Either way");
    await rob.sees("Come in");
    await rob.say("And bring a friend");
    const cleo = await Person.arrive("Cleo", await rob.invite());
    await cleo.page.getByLabel("Your name").fill("Cleo");
    await cleo.page.getByRole("button", { name: "Come in" }).click();
    await cleo.isIn("Either way");
    await rob.seesJoin("Cleo");
    await cleo.sees("And bring a friend");
    await cleo.say("Here I am");
    for (const person of [ana, rob]) await person.sees("Here I am");
    const wanted = [
      ["Ana", "Come in"],
      ["Rob", "And bring a friend"],
      ["Cleo", "Here I am"],
    ];
    assert.deepEqual(rob.messages(), wanted);
    for (const person of [ana, cleo]) await showsMessages(person, wanted);
    await allIsWell([ana, cleo], [rob]);
    for (const person of [ana, rob, cleo]) await person.leave();
  });

  it("a room made by the SDK is joined in the page by password and by link, and its history is read", async () => {
    const rob = new SdkPerson("Rob", snug.url);
    // Composed here, decomposed where it is typed in: the same password.
    await rob.createRoom("No browser needed", "caf\u00e9 orbit velvet canyon seven");
    await rob.say("First **words**");
    await rob.say("Second words");
    const ana = await Person.arrive("Ana", snug.url);
    await ana.join("No browser needed", "cafe\u0301 orbit velvet canyon seven");
    await rob.seesJoin("Ana");
    await ana.sees("Second words");
    await ana.page.locator("strong", { hasText: "words" }).waitFor();
    const ben = await Person.arrive("Ben", await rob.invite());
    await ben.page.getByLabel("Your name").fill("Ben");
    await ben.page.getByRole("button", { name: "Come in" }).click();
    await ben.isIn("No browser needed");
    await rob.isWith("Ana", "Ben", "Rob");
    await ben.say("Third words");
    for (const person of [rob, ana]) await person.sees("Third words");
    const asWritten = [
      ["Rob", "First **words**"],
      ["Rob", "Second words"],
      ["Ben", "Third words"],
    ];
    assert.deepEqual(rob.messages(), asWritten);
    const asShown = asWritten.map(([name, text]) => [name, text.replaceAll("**", "")]);
    for (const person of [ana, ben]) await showsMessages(person, asShown);
    await ben.page.getByRole("button", { name: "Room menu" }).click();
    await ben.page.getByText("Leave room").first().click();
    await ben.page.getByRole("dialog").getByRole("button", { name: "Leave room" }).click();
    await rob.seesLeave("Ben");
    await allIsWell([ana], [rob]);
    for (const person of [ana, ben, rob]) await person.leave();
  });

  it("the SDK is kept out of a page's room by a wrong password, as a page is", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Not for Eve");
    const eve = new SdkPerson("Eve", snug.url);
    await assert.rejects(eve.join("Not for Eve", "not the password at all"), /wrong_credentials/);
    await assert.rejects(eve.join("Nowhere at all", "not the password at all"), /wrong_credentials/);
    assert.deepEqual(eve.events, []);
    for (const person of [ana, eve]) await person.leave();
  });
});
