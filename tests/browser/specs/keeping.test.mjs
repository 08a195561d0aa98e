// Nothing is lost: offline and back, the server killed and restarted, two tabs, a reload in the middle.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeBrowser, eventually, Person, Snug } from "../harness.mjs";

describe("keeping what was written", () => {
  let snug;
  before(async () => (snug = await Snug.start()));
  after(async () => {
    await closeBrowser();
    await snug.stop();
  });

  const numbered = (texts, word) => texts.filter((text) => text.startsWith(word));

  it("what is written offline waits and goes out once, in order", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Tunnel");
    const ben = await Person.arrive("Ben", snug.url);
    await ben.join("Tunnel");
    await ana.say("Before the tunnel");
    await ben.sees("Before the tunnel");
    await ana.context.setOffline(true);
    await snug.kill();
    for (let number = 1; number <= 5; number++) await ana.say(`Tunnel ${number}`);
    await ana.sees("Tunnel 5");
    await snug.restart();
    await ana.context.setOffline(false);
    await ben.sees("Tunnel 5");
    const wanted = [1, 2, 3, 4, 5].map((number) => `Tunnel ${number}`);
    assert.deepEqual(numbered(await ben.texts(), "Tunnel"), wanted);
    await eventually("the sender knows it", async () => (await ana.page.getByText("Sending", { exact: true }).count()) === 0);
    assert.deepEqual(numbered(await ana.texts(), "Tunnel"), wanted);
    await ana.leave();
    await ben.leave();
  });

  it("the page says that it is offline before the socket notices, and that it is back", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Lift");
    await ana.context.setOffline(true);
    const banner = ana.page.getByTestId("connection");
    // The banner's patience is 3 s; the silence of a dead socket would be noticed far later.
    await banner.getByText("You are offline").waitFor({ timeout: 10_000 });
    await ana.context.setOffline(false);
    await banner.waitFor({ state: "detached" });
    await ana.leave();
  });

  it("the outbox survives closing the page while the server is away", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Outbox");
    const ben = await Person.arrive("Ben", snug.url);
    await ben.join("Outbox");
    await ana.say("First");
    await ben.sees("First");
    await snug.kill();
    for (let number = 1; number <= 3; number++) await ana.say(`Kept ${number}`);
    await ana.sees("Kept 3");
    await ana.page.close();
    await snug.restart();
    ana.page = await ana.tab(snug.url);
    await ben.sees("Kept 3");
    assert.deepEqual(numbered(await ben.texts(), "Kept"), ["Kept 1", "Kept 2", "Kept 3"]);
    assert.equal(await ben.page.getByRole("alert").filter({ hasText: "does not add up" }).count(), 0);
    await ana.leave();
    await ben.leave();
  });

  it("a server killed in the middle of a conversation loses nothing and the page comes back by itself", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Crash");
    const ben = await Person.arrive("Ben", snug.url);
    await ben.join("Crash");
    for (let round = 0; round < 3; round++) {
      for (let number = 0; number < 5; number++) await ana.say(`Line ${round * 10 + number}`);
      await snug.kill();
      for (let number = 5; number < 10; number++) await ana.say(`Line ${round * 10 + number}`);
      await snug.restart();
      await ben.sees(`Line ${round * 10 + 9}`);
    }
    const wanted = Array.from({ length: 30 }, (_, number) => `Line ${number}`);
    const seen = numbered(await ben.texts(), "Line");
    assert.deepEqual(seen, wanted.slice(-seen.length));
    assert.equal(new Set(seen).size, seen.length);
    await ben.page.reload();
    await ben.sees("Line 29");
    assert.equal(await ben.page.getByText("does not add up").count(), 0);
    await ana.leave();
    await ben.leave();
  });

  it("two tabs of one person share one outbox: both show everything, nothing goes out twice", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Two tabs");
    const ben = await Person.arrive("Ben", snug.url);
    await ben.join("Two tabs");
    const second = await ana.tab();
    await ana.openRoom("Two tabs", second);
    for (let number = 1; number <= 6; number++) {
      await ana.say(`Tab ${number}`, number % 2 === 0 ? second : ana.page);
      await ben.sees(`Tab ${number}`);
    }
    const wanted = [1, 2, 3, 4, 5, 6].map((number) => `Tab ${number}`);
    for (const [person, page] of [[ben, ben.page], [ana, ana.page], [ana, second]]) {
      await person.sees("Tab 6", page);
      assert.deepEqual(numbered(await person.texts(page), "Tab"), wanted);
    }
    await ana.page.close();
    await ana.say("Tab 7", second);
    await ben.sees("Tab 7");
    await ben.page.getByText("2 of 2 people here").waitFor();
    assert.deepEqual(ana.faults, []);
    await ana.leave();
    await ben.leave();
  });

  it("a fast writer's every Enter counts", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Fast hands");
    const ben = await Person.arrive("Ben", snug.url);
    await ben.join("Fast hands");
    for (let number = 1; number <= 8; number++) {
      await ana.composer().fill(`Fast ${number}`);
      await ana.page.keyboard.press("Enter");
    }
    await ben.sees("Fast 8");
    assert.deepEqual(numbered(await ben.texts(), "Fast"), [1, 2, 3, 4, 5, 6, 7, 8].map((number) => `Fast ${number}`));
    await ana.leave();
    await ben.leave();
  });

  it("a draft that was not sent is there after a reload", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Drafts");
    await ana.composer().fill("Not finished yet");
    // The promise is about time: a draft is kept half a second after the last key.
    await ana.page.evaluate(() => new Promise((done) => setTimeout(done, 1_000)));
    await ana.page.reload();
    await ana.isIn("Drafts");
    await eventually("the draft is back", async () => (await ana.composer().inputValue()) === "Not finished yet");
    await ana.leave();
  });
});
