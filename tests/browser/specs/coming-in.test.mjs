// Ways in and what stands in them: invite links, wrong passwords, names that are taken, weak passwords, hostile names.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeBrowser, eventually, PASSWORD, Person, Snug } from "../harness.mjs";

describe("coming in", () => {
  let snug;
  before(async () => (snug = await Snug.start(["--joins-burst=4", "--joins-per-minute=1"])));
  after(async () => {
    await closeBrowser();
    await snug.stop();
  });

  it("an invite link lets in with a name only, and its key leaves the address bar before any request", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    const { link } = await ana.createRoom("By invitation");
    await ana.say("Welcome");
    const ben = await Person.arrive("Ben", "about:blank");
    const requests = [];
    ben.page.on("request", (request) => requests.push(request.url() + (request.postData() ?? "")));
    await ben.page.goto(link);
    await ben.page.getByRole("heading", { name: "You are invited" }).waitFor();
    assert.ok(!ben.page.url().includes("join="), ben.page.url());
    await ben.page.getByLabel("Your name").fill("Ben");
    await ben.page.getByRole("button", { name: "Come in" }).click();
    await ben.isIn("By invitation");
    await ben.sees("Welcome");
    const secret = link.split("#join=")[1];
    assert.ok(requests.length > 1 && !requests.some((request) => request.includes(secret.slice(44))));
    assert.deepEqual(ben.faults, []);
    await ana.leave();
    await ben.leave();
  });

  it("an invite can be made for one person, is listed, and stops working when revoked", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Guest list");
    const { page } = ana;
    await page.getByRole("button", { name: "Room menu" }).click();
    await page.getByText("Invites").first().click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("For").selectOption({ label: "1 person" });
    await dialog.getByRole("button", { name: "Create link" }).click();
    const link = await dialog.getByLabel("Invite link", { exact: true }).first().inputValue();
    await dialog.getByText("used 0 of 1").waitFor();
    await dialog.getByRole("button", { name: /^Revoke the link/ }).first().click();
    await page.getByText("Link revoked").first().waitFor();
    const ben = await Person.arrive("Ben", link);
    await ben.page.getByLabel("Your name").fill("Ben");
    await ben.page.getByRole("button", { name: "Come in" }).click();
    await ben.page.getByRole("alert").first().waitFor();
    assert.equal(await ben.composer().count(), 0);
    await ana.leave();
    await ben.leave();
  });

  it("a wrong password and an unknown room get the same kind answer, and guessing is told to wait", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Locked");
    const eve = await Person.arrive("Eve", snug.url);
    const alert = eve.page.getByRole("alert").first();
    await eve.fillJoin("Locked", "not the password at all");
    await alert.waitFor();
    const wrong = await alert.innerText();
    await eve.tryToJoin("Nowhere", "not the password at all");
    await eventually("the second answer", async () => (await eve.page.getByRole("button", { name: "Join room" }).isEnabled()));
    assert.equal(await alert.innerText(), wrong);
    await eventually("guessing is stopped", async () => {
      if ((await alert.isVisible()) && /Too many attempts/.test(await alert.innerText())) return true;
      const again = eve.page.getByRole("button", { name: "Join room" });
      if (await again.isEnabled()) await again.click();
      return false;
    });
    await ana.leave();
    await eve.leave();
  });

  it("a taken name offers a free one, and a weak password is refused with the reason", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Book club");
    const ben = await Person.arrive("Ben", snug.url);
    const { page } = ben;
    await page.getByRole("button", { name: "Create a room" }).click();
    await page.getByLabel("Your name").fill("Ben");
    await page.getByLabel("Room name").fill("BOOK CLUB");
    const password = page.getByLabel("Room password", { exact: true });
    await password.fill("password1");
    await page.getByRole("button", { name: "Create room" }).click();
    await eventually("the password is refused", async () => (await password.getAttribute("aria-invalid")) === "true");
    await page.getByRole("button", { name: "Suggest one" }).click();
    await eventually("a passphrase is offered", async () => (await password.inputValue()).length > 15);
    await page.getByRole("button", { name: "Create room" }).click();
    await page.getByRole("button", { name: /^Use “.* 2” instead$/ }).click();
    await page.getByRole("button", { name: "Create room" }).click();
    await page.getByRole("heading", { name: "“BOOK CLUB 2” is ready" }).waitFor();
    await ana.leave();
    await ben.leave();
  });

  it("a hostile text is shown as text, as a name and as a message", async () => {
    const hostile = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>`;
    const ana = await Person.arrive("<b>Ana</b>\"'`", snug.url);
    await ana.createRoom("Hostile <i>room</i>");
    await ana.say(hostile);
    await ana.say("[click](javascript:alert(1)) and [this](https://example.com/?q=<x>)");
    const ben = await Person.arrive("Ben", snug.url);
    await ben.join("Hostile <i>room</i>");
    await ben.sees(hostile);
    const links = await ben.page.locator('[role="article"] a').evaluateAll((all) => all.map((a) => [a.href, a.rel]));
    assert.ok(links.every(([href]) => href.startsWith("https://")), JSON.stringify(links));
    assert.ok(links.every(([, rel]) => rel.includes("noopener") && rel.includes("noreferrer")));
    assert.equal(await ben.page.locator('[role="article"] img, [role="article"] script').count(), 0);
    assert.equal(await ben.page.evaluate(() => window.pwned), undefined);
    await ben.page.getByText("<b>Ana</b>").first().waitFor();
    assert.deepEqual(ben.faults, []);
    await ana.leave();
    await ben.leave();
  });

  it("names with hidden or too many characters are refused where they are typed", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    const { page } = ana;
    await page.getByRole("button", { name: "Create a room" }).click();
    await page.getByLabel("Room name").fill("Fine");
    await page.getByLabel("Room password", { exact: true }).fill(PASSWORD);
    const name = page.getByLabel("Your name");
    for (const bad of ["", "A\u202Ena", "x".repeat(41)]) {
      await name.fill(bad);
      await page.getByRole("button", { name: "Create room" }).click();
      await eventually(`“${bad}” is refused`, async () => (await name.getAttribute("aria-invalid")) === "true");
    }
    await ana.leave();
  });
});
