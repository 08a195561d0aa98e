// A server that tampers, in a real page: its frames are changed on their way into the socket.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { memberLine, remove } from "../governing.mjs";
import { closeBrowser, Person, Snug } from "../harness.mjs";

const ENTRY_FRAME_HEADER_BYTES = 17;
const HEADER_BYTES = 76;
/** Where the type and the epoch stand in an envelope's header. */
const [TYPE_AT, EPOCH_AT] = [5, 24];
const [EPOCH_RECORD, MESSAGE] = [1, 3];

const NEW_PASSWORD = "copper meadow eleven violin harbour";

/** Lets `change` decide about each entry frame: the bytes to deliver, or null to drop it. */
async function tamper(page, change) {
  await page.routeWebSocket(/\/ws$/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((message) => {
      if (typeof message === "string") return socket.send(message);
      const seq = Number(message.readBigUInt64BE(1));
      const changed = change(Buffer.from(message), seq);
      if (changed !== null) socket.send(changed);
    });
  });
}

/** Whether the envelope is the record of a newer key than the room's first. */
function isNewKey(envelope) {
  return envelope[TYPE_AT] === EPOCH_RECORD && envelope.readUInt32BE(EPOCH_AT) > 0;
}

/** Shows a message that does not open in the place of each new key's record, and a chain that ends before it, until `end`. */
async function hideNewKeys(page) {
  let over = false;
  await tamper(page, (bytes) => {
    const envelope = bytes.subarray(ENTRY_FRAME_HEADER_BYTES);
    if (!over && isNewKey(envelope)) {
      envelope[TYPE_AT] = MESSAGE;
      envelope.writeUInt32BE(0, EPOCH_AT);
    }
    return bytes;
  });
  await page.route(/\/api\/rooms\/[^/]+\/chain/, async (route) => {
    const response = await route.fetch();
    const body = await response.body();
    // Records with their lengths before them; the first says what the page is about.
    let end = 4 + body.readUInt32BE(0);
    while (end < body.length) {
      const next = end + 4 + body.readUInt32BE(end);
      if (!over && isNewKey(body.subarray(end + 4 + ENTRY_FRAME_HEADER_BYTES, next))) break;
      end = next;
    }
    await route.fulfill({ response, body: body.subarray(0, end) });
  });
  return { end: () => (over = true) };
}

/** What the page gives out of what its checks have found: as text, and each finding. */
async function exportEvidence({ page }) {
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export evidence" }).click();
  const file = await download;
  assert.match(file.suggestedFilename(), /^snug-evidence-.*\.json$/);
  const text = readFileSync(await file.path(), "utf8");
  const { violations } = JSON.parse(text);
  for (const { envelope, hash } of violations.flatMap(({ entries }) => entries)) assert.equal(sha256(envelope), hash);
  return { text, violations };
}

const sha256 = (envelope) => createHash("sha256").update(Buffer.from(envelope, "base64url")).digest("base64url");

describe("a server that tampers", () => {
  let snug;
  let ana;
  before(async () => {
    snug = await Snug.start();
    ana = await Person.arrive("Ana", snug.url);
    await ana.createRoom("Evidence");
    for (const text of ["One", "Two", "Three", "Four"]) await ana.say(text);
    await ana.sees("Four");
  });
  after(async () => {
    await closeBrowser();
    await snug.stop();
  });

  it("a changed message is one calm line in its place and the rest stays readable", async () => {
    const ben = await Person.arrive("Ben", snug.url);
    await tamper(ben.page, (bytes, seq) => {
      if (seq === 4) bytes[ENTRY_FRAME_HEADER_BYTES + HEADER_BYTES + 20] ^= 1;
      return bytes;
    });
    await ben.page.reload();
    await ben.join("Evidence");
    await ben.sees("Four");
    await ben.page.getByText("A message that could not be verified was left out").waitFor();
    assert.deepEqual(await ben.texts(), ["One", "Three", "Four"]);
    await ben.leave();
  });

  it("a message left out is noticed, said calmly, and can be exported as evidence", async () => {
    const cleo = await Person.arrive("Cleo", snug.url);
    await tamper(cleo.page, (bytes, seq) => {
      if (seq === 5) return null;
      // The server closes the gap by numbering the rest anew, or the hole in seq alone would tell.
      if (seq > 5) bytes.writeBigUInt64BE(BigInt(seq - 1), 1);
      return bytes;
    });
    await cleo.page.reload();
    await cleo.join("Evidence");
    await cleo.page.getByText("Something in this room's history does not add up").waitFor();
    const { text, violations } = await exportEvidence(cleo);
    assert.ok(violations.some(({ entries }) => entries.length > 0));
    for (const said of ["Three", "Four"]) assert.ok(!text.includes(said), said);
    await cleo.leave();
  });

  it("a removal that is hidden from who stays is noticed with the next message, and nothing is said under the old key", async () => {
    const [ben, mallory] = await Promise.all(["Ben", "Mallory"].map((name) => Person.arrive(name, snug.url)));
    const lies = await hideNewKeys(ben.page);
    await ben.page.reload();
    await ana.createRoom("Hidden removal");
    await Promise.all([ben.join("Hidden removal"), mallory.join("Hidden removal")]);
    await mallory.say("I hear everything");
    await ben.sees("I hear everything");
    const done = await remove(ana, "Mallory", NEW_PASSWORD);
    await done.getByRole("button", { name: "Done" }).click();
    await ana.say("Now without Mallory");
    const banner = ben.page.getByRole("region", { name: "Something in this room's history does not add up" });
    await banner.getByText("Details (1 finding)").click();
    await banner.getByText(/made by someone who may not make it, or one was left out/).waitFor();
    await ben.page.getByText("The room has a new key that this device does not have").waitFor();

    // What Ben writes now would be read by Mallory.
    await ben.composer().fill("For Ana alone");
    await ben.composer().press("Enter");
    assert.equal(await ben.composer().inputValue(), "For Ana alone");
    const { text, violations } = await exportEvidence(ben);
    assert.deepEqual(
      violations.map(({ code, entries }) => [code, entries.length > 0]),
      [["authority", true]],
    );
    for (const said of ["Now without Mallory", "I hear everything", "For Ana alone"]) {
      assert.ok(!text.includes(said) && !text.includes(Buffer.from(said).toString("base64url")), said);
    }

    // The server stops lying, and Ben does what the page says.
    lies.end();
    await ben.page.getByRole("button", { name: "Join again" }).click();
    await ben.tryToJoin("Hidden removal", NEW_PASSWORD);
    await ben.isIn("Hidden removal");
    await ben.sees("Now without Mallory");
    assert.equal(await ana.message("For Ana alone").count(), 0);
    assert.equal(await ben.composer().inputValue(), "For Ana alone");
    await ben.composer().press("Enter");
    await ana.sees("For Ana alone");
    assert.equal(await mallory.message("For Ana alone").count(), 0);
    for (const person of [ben, mallory]) await person.leave();
  });

  it("who was banned and is listed again stays off the list, and the page says that it may not be", async () => {
    const [ben, mallory] = await Promise.all(["Ben", "Mallory"].map((name) => Person.arrive(name, snug.url)));
    await ana.createRoom("Readmitted");
    await Promise.all([ben.join("Readmitted"), mallory.join("Readmitted")]);
    await mallory.say("I shall be back");
    await ben.sees("I shall be back");
    const done = await remove(ana, "Mallory", NEW_PASSWORD, { ban: true });
    await done.getByRole("button", { name: "Done" }).click();
    await ben.isTold("Ana banned Mallory");
    await ben.findsNothingWrong();
    await ben.page.route(/\/api\/rooms\/[^/]+\/members/, async (route) => {
      const response = await route.fetch();
      const text = (await response.text()).replaceAll('"state":"banned"', '"state":"member"');
      await route.fulfill({ response, body: text });
    });
    await ben.page.reload();
    await ben.sees("I shall be back");
    const banner = ben.page.getByRole("region", { name: "Something in this room's history does not add up" });
    await banner.getByText("Details (1 finding)").click();
    await banner.getByText(/made by someone who may not make it, or one was left out/).waitFor();
    await memberLine(ben, "Ana").waitFor();
    assert.equal(await memberLine(ben, "Mallory").count(), 0);
    const { text, violations } = await exportEvidence(ben);
    assert.deepEqual(
      violations.map(({ code, entries }) => [code, entries.length]),
      [["authority", 1]],
    );
    assert.ok(!text.includes("I shall be back"));
    // What Ben and Ana say goes on.
    await ben.say("She is not here");
    await ana.sees("She is not here");
    for (const person of [ben, mallory]) await person.leave();
  });
});
