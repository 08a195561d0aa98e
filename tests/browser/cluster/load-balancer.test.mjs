// A running cluster behind its load balancer, used by browsers. tests/image/run starts it and says where it is:
// SNUG_CLUSTER_URL is what people open, SNUG_CLUSTER_RESTARTS a shell command a line, each of which restarts one node.

import assert from "node:assert/strict";
import { exec } from "node:child_process";
import { readFile } from "node:fs/promises";
import { after, describe, it } from "node:test";
import { promisify } from "node:util";
import { closeBrowser, eventually, Person } from "../harness.mjs";

const url = process.env.SNUG_CLUSTER_URL;
const restarts = (process.env.SNUG_CLUSTER_RESTARTS ?? "").split("\n").filter((line) => line !== "");

// The certificate is of the installation's own authority; that it fits is looked at by tests/image/run.
// Tall, since only what is in sight is drawn.
const arrive = (name) => Person.arrive(name, url, { ignoreHTTPSErrors: true, viewport: { width: 1000, height: 9000 } });

/** Of each person while one node restarts; a restart takes some fifteen seconds. */
const SENTENCES_MAX = 15;

/** Whether no address of this machine is being tried out (IFA_F_TENTATIVE), as after a container's start: its last change breaks off what a browser asks for. */
async function addressesAreSettled() {
  const lines = (await readFile("/proc/net/if_inet6", "utf8").catch(() => "")).split("\n").filter((line) => line !== "");
  return lines.every((line) => (Number.parseInt(line.split(/\s+/)[4], 16) & 0x40) === 0);
}

describe("a cluster behind its load balancer", () => {
  after(closeBrowser);

  it("people talk over https, while one node after the other is restarted, and nobody misses anything", async () => {
    assert.ok(url?.startsWith("https://"), "SNUG_CLUSTER_URL says where the cluster is");
    assert.ok(restarts.length > 0, "SNUG_CLUSTER_RESTARTS says how a node is restarted");
    await eventually("the network is still", addressesAreSettled);
    const people = [await arrive("Ana"), await arrive("Ben")];
    const [ana, ben] = people;
    const room = `Kitchen ${Date.now()}`;
    await ana.createRoom(room);
    await ben.join(room);
    const said = [];
    const say = async (person) => {
      const text = `Sentence ${said.length + 1} of ${person.name}.`;
      said.push(text);
      await person.say(text);
    };
    for (const restart of restarts) {
      let done = false;
      const restarting = promisify(exec)(restart).finally(() => (done = true));
      for (let round = 0; round < SENTENCES_MAX && !done; round++) {
        for (const person of people) await say(person);
        // A person's pace, well below the limit of one device.
        await new Promise((resolve) => setTimeout(resolve, 1_000));
      }
      await restarting;
    }
    for (const person of people) {
      await eventually(`${person.name} sees everything`, async () => (await person.texts()).length >= said.length);
      await eventually("everything is sent", async () => (await person.page.getByText("Sending", { exact: true }).count()) === 0);
    }
    const texts = await ana.texts();
    assert.deepEqual(await ben.texts(), texts, "both see one order");
    assert.deepEqual([...texts].sort(), [...said].sort(), "everything once");
    for (const name of ["Ana", "Ben"]) {
      const own = (text) => text.endsWith(`of ${name}.`);
      assert.deepEqual(texts.filter(own), said.filter(own), `${name}'s in the order of saying`);
    }
    await eventually("the network is still", addressesAreSettled);
    const cleo = await arrive("Cleo");
    await cleo.join(room);
    await cleo.sees(said.at(-1));
    for (const person of [...people, cleo]) {
      assert.deepEqual(person.faults, []);
      await person.leave();
    }
  });
});
