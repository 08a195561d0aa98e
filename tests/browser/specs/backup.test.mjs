// A server that was restored from a backup of before a room got a new key: nobody goes back to the old key unasked.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { replaceKey } from "../governing.mjs";
import { closeBrowser, PASSWORD, Person, Snug } from "../harness.mjs";

const NEW_PASSWORD = "copper meadow eleven violin harbour";
const ANEW = "Forget and join anew";

describe("a restored backup", () => {
  let snug;
  before(async () => (snug = await Snug.start()));
  after(async () => {
    await closeBrowser();
    await snug.stop();
  });

  it("from before a new key is told as what it is, and everyone decides to join anew, or not", async () => {
    const [ana, ben, cleo] = await Promise.all(["Ana", "Ben", "Cleo"].map((name) => Person.arrive(name, snug.url)));
    await ana.createRoom("Archive");
    await ben.join("Archive");
    await ben.say("Before the backup");
    await ana.sees("Before the backup");
    await snug.backUp();
    await replaceKey(ana, NEW_PASSWORD);
    await ana.say("After the backup");
    await ben.sees("After the backup");
    await cleo.join("Archive", NEW_PASSWORD);
    await cleo.sees("After the backup");
    await ben.composer().fill("Half a sentence");
    await snug.restore();

    const banners = [ana, ben].map(({ page }) =>
      page.getByRole("region", { name: "The server shows another state of this room than this device knows" }),
    );
    for (const banner of banners) await banner.getByText(/restored from an older backup, or when someone wants to/).waitFor();
    // What is written is said to nobody under either key.
    await ben.composer().press("Enter");
    assert.equal(await ben.composer().inputValue(), "Half a sentence");

    // The old password alone does not lead back: a server that lies would like that.
    await ana.page.getByRole("button", { name: "Join a room" }).click();
    await ana.tryToJoin("Archive", PASSWORD);
    await ana.page.getByRole("alert").getByText(/This device knows a newer state of the room than the server shows/).waitFor();
    await ana.page.goBack();

    for (const [person, banner] of [
      [ana, banners[0]],
      [ben, banners[1]],
    ]) {
      await banner.getByRole("button", { name: ANEW }).click();
      const dialog = person.page.getByRole("dialog", { name: "Forget this room and join anew?" });
      await dialog.getByText(/Do this only if the server was restored from a backup/).waitFor();
      if (person === ben) await dialog.getByText("Half a sentence", { exact: true }).waitFor();
      await dialog.getByRole("button", { name: ANEW }).click();
      assert.equal(await person.page.getByLabel("Room name").inputValue(), "Archive");
      await person.tryToJoin("Archive", PASSWORD);
      await person.isIn("Archive");
      await person.sees("Before the backup");
    }
    await ana.say("We begin again");
    await ben.sees("We begin again");
    await ben.say("So we do");
    await ana.sees("So we do");

    // Who came only after the backup is a stranger there.
    const stranger = cleo.page.getByRole("region", { name: "The server does not know this device any more" });
    await stranger.getByRole("button", { name: ANEW }).click();
    await cleo.page.getByRole("dialog").getByRole("button", { name: ANEW }).click();
    await cleo.tryToJoin("Archive", PASSWORD);
    await cleo.isIn("Archive");
    await cleo.sees("So we do");
    for (const person of [ana, ben, cleo]) await person.findsNothingWrong();
  });
});
