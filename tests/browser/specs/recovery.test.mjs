// Coming back by the recovery key, when no owner's device is left.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  audit,
  beginRemoval,
  handOver,
  keepRecoveryKey,
  lock,
  memberLine,
  openSettings,
  replaceKey,
  replaceRecoveryKey,
  setTopic,
  topicOf,
} from "../governing.mjs";
import { closeBrowser, Person, Snug } from "../harness.mjs";

async function recover(person, room, key) {
  const { page } = person;
  await page.getByRole("button", { name: /recovery key/i }).first().click();
  await page.getByLabel("Your name").fill(person.name);
  await page.getByLabel("Room name").fill(room);
  await page.getByLabel("Recovery key").fill(key);
  await page.getByRole("button", { name: "Recover the room" }).click();
}

describe("the recovery key", () => {
  let snug;
  before(async () => (snug = await Snug.start()));
  after(async () => {
    await closeBrowser();
    await snug.stop();
  });

  it("brings a new browser into a locked room whose key was replaced, and makes it an owner", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    const { recovery } = await ana.createRoom("Lost and found");
    const ben = await Person.arrive("Ben", snug.url);
    await ben.join("Lost and found");
    await ana.say("Said before");
    await ben.sees("Said before");
    await replaceKey(ana, "third velvet canyon seven lantern");
    await lock(ana);
    await ana.leave();
    const again = await Person.arrive("Ana again", snug.url);
    await recover(again, "Lost and found", recovery.toUpperCase());
    await again.isIn("Lost and found");
    await again.sees("Said before");
    await setTopic(again, "Found");
    await topicOf(ben).getByText("Found").waitFor();
    assert.ok((await audit(ben)).includes("Somebody with the recovery key made Ana again an owner"));
    for (const person of [again, ben]) {
      assert.deepEqual(person.faults, []);
      await person.leave();
    }
  });

  it("is replaced by whom the room was handed to; the old one opens nothing, the new one does", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    const { recovery: old } = await ana.createRoom("Handed over");
    const ben = await Person.arrive("Ben", snug.url);
    await ben.join("Handed over");
    await memberLine(ana, "Ben").first().waitFor();
    await handOver(ana, "Ben");
    // The new owner is asked to, since Ana has seen the old one.
    const ask = ben.page.getByRole("region", { name: "This room's recovery key may be in other hands" });
    await ask.waitFor();
    const second = await replaceRecoveryKey(ben, "third velvet canyon seven lantern", () =>
      ask.getByRole("button", { name: "New recovery key" }).click(),
    );
    assert.match(second, /^snug-recovery(-[a-z2-7]{4}){13}$/);
    await ask.waitFor({ state: "detached" });
    assert.ok((await audit(ben)).includes("Ben replaced the room's key and made a new recovery key"));
    await ben.say("Under the new key");
    await ana.sees("Under the new key");
    // From the settings, any time; and it is offered, switched on, with the removal of who may have it.
    const third = await replaceRecoveryKey(ben, "fourth velvet canyon seven lantern", async () => {
      const settings = await openSettings(ben);
      await settings.getByRole("button", { name: "New recovery key" }).click();
    });
    const removal = await beginRemoval(ben, "Ana", "fifth velvet canyon seven lantern", { ban: true });
    assert.ok(await removal.getByLabel("Make a new recovery key too").isChecked());
    await removal.getByRole("button", { name: "Ban", exact: true }).click();
    const newest = await keepRecoveryKey(ben, "Ban", "Ana is banned");
    for (const key of [old, second, third]) {
      const eve = await Person.arrive("Eve", snug.url);
      await recover(eve, "Handed over", key);
      const refused = eve.page.locator("input[aria-invalid=true]");
      await refused.waitFor();
      assert.ok(await eve.page.getByText("has been replaced by a newer one").isVisible());
      await eve.leave();
    }
    await ben.leave();
    const again = await Person.arrive("Ben again", snug.url);
    await recover(again, "Handed over", newest);
    await again.isIn("Handed over");
    await again.sees("Under the new key");
    assert.deepEqual([ana.faults, ben.faults, again.faults], [[], [], []]);
    for (const person of [ana, again]) await person.leave();
  });

  it("of another room is refused in words, and what was typed stays", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Mine");
    const other = await Person.arrive("Other", snug.url);
    const { recovery } = await other.createRoom("Not mine");
    const eve = await Person.arrive("Eve", snug.url);
    await recover(eve, "Mine", recovery);
    const key = eve.page.getByLabel("Recovery key");
    const refused = eve.page.locator("input[aria-invalid=true]");
    await refused.waitFor();
    assert.equal(await refused.getAttribute("id"), await key.getAttribute("id"));
    assert.equal(await key.inputValue(), recovery);
    await key.fill("snug-recovery-nothing");
    await eve.page.getByRole("button", { name: "Recover the room" }).click();
    await refused.waitFor();
    for (const person of [ana, other, eve]) await person.leave();
  });
});
