// The page itself: usable by everyone, small, strict, and clear where it cannot work.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, describe, it } from "node:test";
import { closeBrowser, Person, Snug, theBrowser } from "../harness.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

async function violations(page) {
  // Half-faded text has half its contrast: what is judged is the page at rest.
  await page.evaluate(() => Promise.allSettled(document.getAnimations().map((animation) => animation.finished)));
  await page.evaluate(axe);
  const found = await page.evaluate(() =>
    window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }),
  );
  return found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => `${node.html.slice(0, 120)} ${node.failureSummary}`).join("; ")}`);
}

describe("the page", () => {
  let snug;
  before(async () => (snug = await Snug.start()));
  after(async () => {
    await closeBrowser();
    await snug.stop();
  });

  for (const [device, viewport] of [
    ["desktop", { width: 1280, height: 800 }],
    ["phone", { width: 390, height: 844 }],
  ]) {
    for (const colorScheme of ["light", "dark"]) {
      it(`has no accessibility violations on a ${device} in ${colorScheme}`, async () => {
        const room = `Kitchen ${device} ${colorScheme}`;
        const ana = await Person.arrive("Ana", snug.url, { viewport, colorScheme });
        assert.deepEqual(await violations(ana.page), []);
        await ana.page.getByRole("button", { name: "Create a room" }).click();
        await ana.page.getByRole("heading", { name: "Create a room" }).waitFor();
        assert.deepEqual(await violations(ana.page), []);
        await ana.page.goBack();
        await ana.createRoom(room);
        await ana.say("Hello, `code` and **bold**");
        await ana.sees("Hello");
        assert.deepEqual(await violations(ana.page), []);
        const width = await ana.page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(width <= viewport.width, `nothing sticks out sideways: ${width}`);
        await ana.page.getByRole("button", { name: "Room menu" }).click();
        await ana.page.getByText("About security").first().click();
        await ana.page.getByRole("dialog").waitFor();
        assert.deepEqual(await violations(ana.page), []);
        assert.deepEqual(ana.faults, []);
        await ana.leave();
      });
    }
  }

  it("loads less than 150 KB at first, all of it from here", async () => {
    const ana = await Person.arrive("Ana", "about:blank");
    const session = await ana.context.newCDPSession(ana.page);
    await session.send("Network.enable");
    let bytes = 0;
    const foreign = [];
    session.on("Network.loadingFinished", (event) => (bytes += event.encodedDataLength));
    ana.page.on("request", (request) => {
      if (!request.url().startsWith(snug.url) && !/^(data|blob):/.test(request.url())) foreign.push(request.url());
    });
    await ana.page.goto(snug.url, { waitUntil: "networkidle" });
    await ana.page.getByRole("button", { name: "Create a room" }).waitFor();
    assert.ok(bytes > 1_000 && bytes < 150_000, `${bytes} bytes`);
    assert.deepEqual(foreign, []);
    await ana.leave();
  });

  it("says that it needs https when it is opened by plain http under another name", async () => {
    const other = await Snug.start((port) => [`--public-url=http://snug.localtest:${port}`]);
    const context = await (await theBrowser()).newContext();
    const page = await context.newPage();
    await page.goto(`http://snug.localtest:${other.port}/`);
    await page.getByText(/https/i).first().waitFor();
    assert.equal(await page.getByRole("button", { name: "Create a room" }).count(), 0);
    await context.close();
    await other.stop();
  });

  it("says which browsers it works in when this one lacks the encryption", async () => {
    const context = await (await theBrowser()).newContext();
    await context.addInitScript(() => {
      const generateKey = crypto.subtle.generateKey.bind(crypto.subtle);
      SubtleCrypto.prototype.generateKey = (algorithm, ...rest) =>
        (algorithm.name ?? algorithm) === "Ed25519"
          ? Promise.reject(new DOMException("not here", "NotSupportedError"))
          : generateKey(algorithm, ...rest);
    });
    const page = await context.newPage();
    await page.goto(snug.url);
    await page.getByText("These have it, and newer ones: Chrome or Edge 137, Firefox 130, Safari 17").waitFor();
    assert.deepEqual(await page.getByRole("listitem").allInnerTexts(), [
      "Ed25519: in Chrome or Edge 137, Firefox 129, Safari 17 and newer",
    ]);
    assert.equal(await page.getByRole("button", { name: "Create a room" }).count(), 0);
    await context.close();
  });

  it("says what is missing also where the tabs could not talk to each other", async () => {
    const context = await (await theBrowser()).newContext();
    await context.addInitScript(() => delete window.BroadcastChannel);
    const page = await context.newPage();
    await page.goto(snug.url);
    await page.getByText("BroadcastChannel: in Chrome 54").waitFor();
    await context.close();
  });

  it("can be used with the keyboard alone", async () => {
    const ana = await Person.arrive("Ana", snug.url);
    const { page } = ana;
    const focusOn = async (name) => {
      for (let steps = 0; steps < 40; steps++) {
        await page.keyboard.press("Tab");
        const label = await page.evaluate(() => {
          const element = document.activeElement;
          // What holds everything has every label in its text.
          if (!element.matches("a, button, input, textarea")) return null;
          return element.labels?.[0]?.textContent ?? element.getAttribute("aria-label") ?? element.textContent;
        });
        if (label?.includes(name)) return;
      }
      assert.fail(`${name} cannot be reached with Tab`);
    };
    await page.getByRole("button", { name: "Create a room" }).waitFor();
    await focusOn("Create a room");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Create a room" }).waitFor();
    await focusOn("Your name");
    await page.keyboard.type("Ana");
    await focusOn("Room name");
    await page.keyboard.type("Keys only");
    await focusOn("Room password");
    await page.keyboard.type("orbit velvet canyon seven lantern");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "“Keys only” is ready" }).waitFor();
    await focusOn("I saved the recovery key");
    await page.keyboard.press("Space");
    await focusOn("Go to the room");
    await page.keyboard.press("Enter");
    await ana.isIn("Keys only");
    await page.keyboard.type("Typed at once");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("on two lines");
    await page.keyboard.press("Enter");
    await ana.sees("Typed at once");
    assert.deepEqual(await ana.texts(), ["Typed at once\non two lines"]);
    await ana.leave();
  });
});
