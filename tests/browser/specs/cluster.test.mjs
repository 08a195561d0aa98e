// Two people in browsers, on two nodes of a real cluster behind its load balancer, while a node is killed and another one drained.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Fleet } from "../fleet.mjs";
import { closeBrowser, eventually, Person } from "../harness.mjs";

/** What the page may say of its connection. */
const RECONNECTS = /^(Reconnecting…|No connection\. Next try in \d+ s\.( Retry now)?)$/;
const SIGKILL = 9;
/** Somebody's pause between two sentences. */
const PAUSE_MS = 400;
/** How often somebody's page is opened anew to get it to another node. */
const MOVES_MAX = 10;

// Tall, since only what is in sight is drawn.
const arrive = (name, url) => Person.arrive(name, url, { viewport: { width: 1000, height: 20_000 } });

/** Notes what the page says of its connection and what it warns of, and whether a text ever stands there twice. */
async function watch(person) {
  await person.page.evaluate(() => {
    const noted = (window.noted = { said: [], doubled: [] });
    const note = (list, text) => text !== "" && list.at(-1) !== text && list.push(text);
    const look = () => {
      for (const found of document.querySelectorAll('[data-testid="connection"], [role="alert"]')) {
        note(noted.said, found.innerText.replace(/\s+/g, " ").trim());
      }
      const texts = Array.from(document.querySelectorAll('[role="article"] .said .text'), (found) => found.textContent);
      if (new Set(texts).size < texts.length) note(noted.doubled, texts.find((text, at) => texts.indexOf(text) !== at));
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
}

const noted = (person) => person.page.evaluate(() => window.noted);

/** Somebody who says one sentence after the other until told to stop. */
class Talk {
  said = [];
  #stopped = false;

  constructor(person) {
    this.person = person;
    this.talking = this.#talk();
    // A failure is told by `end`, which may come later.
    this.talking.catch(() => {});
  }

  async #talk() {
    while (!this.#stopped) {
      const text = `Sentence ${this.said.length + 1} of ${this.person.name}.`;
      await this.person.say(text);
      this.said.push(text);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  /** Waits until this person has said so many more sentences, each of which the other one has seen. */
  async goesOn(more, listener) {
    const wanted = this.said.length + more;
    await eventually(`${this.person.name} goes on`, () => this.said.length >= wanted);
    await listener.sees(this.said[wanted - 1]);
  }

  async end() {
    this.#stopped = true;
    await this.talking;
  }
}

describe("a cluster behind its load balancer", () => {
  let fleet;
  before(async () => (fleet = await Fleet.start()), { timeout: 240_000 });
  after(async () => {
    await closeBrowser();
    await fleet?.stop();
  });

  /** Opens the person's page again until it is at another node than `node`. */
  async function moveAwayFrom(node, person, device) {
    for (let move = 0; (await fleet.where())[device] === node; move++) {
      assert.ok(move < MOVES_MAX, `${person.name} is always led to the same node`);
      await person.page.reload();
      await person.isIn("Kitchen");
      await person.say(`Moved ${move}.`);
      await person.sees(`Moved ${move}.`);
    }
  }

  it("two people talk across nodes; one is killed, one drained, and nothing is lost or doubled", { timeout: 480_000 }, async () => {
    const ana = await arrive("Ana", fleet.url);
    await ana.createRoom("Kitchen");
    const [anas, ...none] = Object.keys(await fleet.where());
    assert.deepEqual(none, [], "only Ana has a session");
    const ben = await arrive("Ben", fleet.url);
    await ben.join("Kitchen");
    const bens = Object.keys(await fleet.where()).find((device) => device !== anas);
    const placeOf = async (device) => (await fleet.where())[device];
    await moveAwayFrom(await placeOf(anas), ben, bens);
    const before = await ana.texts();
    for (const person of [ana, ben]) await watch(person);

    const talks = [new Talk(ana), new Talk(ben)];
    const bothGoOn = async (more) => {
      await Promise.all([talks[0].goesOn(more, ben), talks[1].goesOn(more, ana)]);
    };
    await bothGoOn(4);
    assert.notEqual(await placeOf(anas), await placeOf(bens), "they are at different nodes");

    const killed = await placeOf(anas);
    assert.equal(await fleet.kill(killed), SIGKILL);
    await bothGoOn(4);
    assert.notEqual(await placeOf(anas), killed, "Ana's page has found another node");
    await fleet.start(killed);

    const drained = await placeOf(bens);
    assert.equal(await fleet.drain(drained), true, "the node ended well");
    await bothGoOn(4);
    assert.notEqual(await placeOf(bens), drained, "Ben's page has moved");
    await fleet.start(drained);
    await bothGoOn(2);

    for (const talk of talks) await talk.end();
    const said = talks.flatMap((talk) => talk.said);
    for (const person of [ana, ben]) {
      for (const talk of talks) await person.sees(talk.said.at(-1));
      await eventually("everything is sent", async () => (await person.page.getByText("Sending", { exact: true }).count()) === 0);
    }
    const texts = (await ana.texts()).slice(before.length);
    assert.deepEqual((await ben.texts()).slice(before.length), texts, "both see one order");
    assert.deepEqual([...texts].sort(), [...said].sort(), "everything once");
    for (const talk of talks) {
      const own = texts.filter((text) => text.endsWith(`of ${talk.person.name}.`));
      assert.deepEqual(own, talk.said, `${talk.person.name}'s in the order of saying`);
    }
    for (const person of [ana, ben]) {
      const { said: told, doubled } = await noted(person);
      assert.deepEqual(doubled, [], `${person.name} saw something twice`);
      assert.deepEqual(told.filter((text) => !RECONNECTS.test(text)), [], `${person.name} was told more than that`);
      await person.findsNothingWrong();
      await person.leave();
    }
  });
});
