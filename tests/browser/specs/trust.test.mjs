// What one can check oneself: the numbers that two people compare, in their pages and without a browser.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { numbers, openMember, closeDialog } from "../governing.mjs";
import { closeBrowser, Person, Snug } from "../harness.mjs";
import { SdkPerson } from "../sdk-person.mjs";

const NUMBER = /^(\d{5} ){7}\d{5}$/;

describe("trust", () => {
  let snug;
  before(async () => (snug = await Snug.start()));
  after(async () => {
    SdkPerson.endAll();
    await closeBrowser();
    await snug.stop();
  });

  it("everyone in a room is shown the same number for it and for each other, and another room has another one", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Other");
    const { room: other } = await numbers(ana);
    await ana.createRoom("Numbers");
    const ben = await Person.arrive("Ben", snug.url, { viewport: { width: 390, height: 760 } });
    await ben.join("Numbers");
    const rob = new SdkPerson("Rob", snug.url);
    await rob.join("Numbers");
    await ana.page.getByText("3 of 3 people here").waitFor();
    const [hers, his, its] = [await numbers(ana), await numbers(ben), await rob.numbers()];
    assert.match(hers.room, NUMBER);
    assert.notEqual(hers.room, other);
    assert.deepEqual([his.room, its.room], [hers.room, hers.room]);
    assert.deepEqual(Object.keys(hers.people).sort(), ["Ana", "Ben", "Rob"]);
    assert.deepEqual([his.people, its.people], [hers.people, hers.people]);
    assert.equal(new Set(Object.values(hers.people)).size, 3);
    for (const number of Object.values(hers.people)) assert.match(number, NUMBER);
    for (const { text } of [hers, his]) assert.match(text, /It has found nothing wrong/);
    // The same stands where one looks at a person.
    const dialog = await openMember(ana, "Rob");
    const shown = (await dialog.locator(".number").innerText()).trim().split(/\s+/).join(" ");
    assert.equal(shown, its.people.Rob);
    await closeDialog(ana);
    for (const person of [ana, ben, rob]) await person.leave();
  });
});
