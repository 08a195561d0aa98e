// Taking one's rooms along to another device, by a link that one's own other device opens.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeBrowser, eventually, Person, Snug } from "../harness.mjs";

const PHONE = { viewport: { width: 390, height: 844 } };

/** The six digits that a page shows. */
async function codeOf({ page }) {
  const shown = page.getByText(/^Six digits: /).first();
  await shown.waitFor({ state: "attached" });
  return (await shown.textContent()).replaceAll(/\D/g, "");
}

/** Begins a move; the phone has opened its link and gone on. */
async function beginMove(old, snug) {
  await old.page.getByRole("button", { name: "Move to another device" }).first().click();
  const link = await old.page.getByRole("textbox", { name: "Link for the other device" }).inputValue();
  const requests = [];
  const phone = await Person.arrive("Ana", snug.url, PHONE);
  phone.page.on("request", (request) => requests.push(request.url()));
  await phone.page.goto(link);
  await phone.page.getByRole("heading", { name: "Bring your rooms here" }).waitFor();
  assert.equal(await phone.page.evaluate(() => location.hash), "");
  assert.ok(!requests.some((url) => url.includes(link.split("#")[1])));
  await phone.page.getByRole("button", { name: "Go on" }).click();
  return phone;
}

describe("another device", () => {
  let snug;
  before(async () => (snug = await Snug.start()));
  after(async () => {
    await closeBrowser();
    await snug.stop();
  });

  it("gets all rooms with their history and the name, once both show the same number", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Garden");
    await ana.say("Before the move");
    await ana.sees("Before the move");
    const phone = await beginMove(ana, snug);
    const code = await codeOf(ana);
    assert.match(code, /^\d{6}$/);
    assert.equal(await codeOf(phone), code);
    await ana.page.getByRole("button", { name: "They are the same" }).click();
    await ana.page.getByRole("heading", { name: "Your other device is ready" }).waitFor();
    await phone.page.getByRole("heading", { name: "Your rooms are here" }).waitFor();
    await phone.page.getByRole("button", { name: "Go to your rooms" }).click();
    await phone.openRoom("Garden");
    await phone.sees("Before the move");
    await phone.say("From the phone");
    await ana.page.getByRole("button", { name: "Done" }).click();
    await ana.openRoom("Garden");
    await ana.sees("From the phone");
    for (const person of [ana, phone]) {
      assert.deepEqual(person.faults, []);
      await person.leave();
    }
  });

  it("gets nothing when the numbers are said to differ", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Kitchen");
    const phone = await beginMove(ana, snug);
    await codeOf(ana);
    await ana.page.getByRole("button", { name: "They differ: stop" }).click();
    await eventually("the old device is back", () => ana.page.getByText("Kitchen").first().isVisible());
    await phone.page.reload();
    await phone.page.getByRole("button", { name: "Join a room" }).waitFor();
    assert.equal(await phone.page.getByText("Kitchen").count(), 0);
    for (const person of [ana, phone]) await person.leave();
  });
});
