// A server that tampers, in a real page: its frames are changed on their way into the socket.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeBrowser, Person, Snug } from "../harness.mjs";

const ENTRY_FRAME_HEADER_BYTES = 17;
const HEADER_BYTES = 76;

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
    const download = cleo.page.waitForEvent("download");
    await cleo.page.getByRole("button", { name: "Export evidence" }).click();
    assert.match((await download).suggestedFilename(), /\.json$/);
    await cleo.leave();
  });
});
