// A person without a browser: the Rust SDK, driven by lines of JSON (tests/src/bin/sdk-person.rs).

import { spawn } from "node:child_process";
import readline from "node:readline";
import { isDeepStrictEqual } from "node:util";
import { built, eventually, PASSWORD } from "./harness.mjs";

const EXPECTED = ["message", "edited", "deleted", "reacted", "pinned", "step", "epoch", "joined", "left", "closed"];

/** Says and sees the same things as a `Person` with a page. */
export class SdkPerson {
  /** What happened in the room, in order. */
  events = [];
  #answers = [];
  #asked = 0;
  #ended = null;
  static #everyone = [];

  constructor(name, url) {
    this.name = name;
    this.child = spawn(built("sdk-person"), [url], { stdio: ["pipe", "pipe", "inherit"] });
    SdkPerson.#everyone.push(this.child);
    this.child.once("error", (error) => (this.#ended = `${error}`));
    this.child.once("exit", (code) => (this.#ended = `ended with ${code}`));
    // A write to one that has ended is told by what waits for its answer.
    this.child.stdin.on("error", () => {});
    readline.createInterface({ input: this.child.stdout }).on("line", (line) => {
      const said = JSON.parse(line);
      if ("event" in said) this.events.push(said.event);
      else this.#answers.push(said);
    });
  }

  /** Violations and other things that should not happen. */
  get faults() {
    return this.events.filter((event) => !EXPECTED.includes(event.is));
  }

  async #ask(command) {
    const turn = this.#asked++;
    this.child.stdin.write(`${JSON.stringify(command)}\n`);
    const said = await this.#until(`${this.name} could ${command.do}`, () => this.#answers[turn]);
    if ("refused" in said) throw new Error(said.refused);
    return said.answer;
  }

  #until(what, look) {
    return eventually(what, () => {
      const found = look();
      if (!found && this.#ended !== null) throw new Error(`sdk-person ${this.#ended} before: ${what}`);
      return found;
    });
  }

  createRoom(room, password = PASSWORD) {
    return this.#ask({ do: "create", room, password, name: this.name });
  }

  join(room, password = PASSWORD) {
    return this.#ask({ do: "join", room, password, name: this.name });
  }

  joinByLink(link) {
    return this.#ask({ do: "join_by_link", link, name: this.name });
  }

  /** Makes an invite; returns its link. */
  invite() {
    return this.#ask({ do: "invite" });
  }

  say(text) {
    return this.#ask({ do: "send", text });
  }

  edit(text, changed) {
    return this.#ask({ do: "edit", seq: this.seqOf(text), text: changed });
  }

  delete(text) {
    return this.#ask({ do: "delete", seq: this.seqOf(text) });
  }

  react(text, emoji, on = true) {
    return this.#ask({ do: "react", seq: this.seqOf(text), emoji, on });
  }

  pin(text, on = true) {
    return this.#ask({ do: "pin", seq: this.seqOf(text), on });
  }

  reply(to, text) {
    return this.#ask({ do: "reply", to: this.seqOf(to), text });
  }

  setTopic(topic) {
    return this.#ask({ do: "topic", topic });
  }

  setRole(name, role) {
    return this.#ask({ do: "role", name, role });
  }

  remove(name, password, { ban = false } = {}) {
    return this.#ask({ do: "remove", name, ban, password });
  }

  /** The newest epoch. */
  epoch() {
    return this.#ask({ do: "epoch" });
  }

  /** The numbers to compare: `room`, and those of `people` by their names. */
  numbers() {
    return this.#ask({ do: "numbers" });
  }

  /** Where the newest message with this text stands in the log. */
  seqOf(text) {
    const { seq } = this.events.findLast((event) => event.is === "message" && event.text === text) ?? {};
    if (seq === undefined) throw new Error(`${this.name} has seen no “${text}”`);
    return seq;
  }

  /** Waits for an event that has at least these fields. */
  async seesEvent(wanted) {
    const isIt = (event) => Object.entries(wanted).every(([name, value]) => isDeepStrictEqual(event[name], value));
    return this.#until(`${this.name} sees ${JSON.stringify(wanted)}`, () => this.events.find(isIt));
  }

  /** Waits until exactly these people are here. */
  async isWith(...names) {
    const wanted = [...names].sort().join();
    await eventually(`${wanted} are here`, async () => (await this.#ask({ do: "here" })).sort().join() === wanted);
  }

  violations() {
    return this.#ask({ do: "violations" });
  }

  leaveRoom() {
    return this.#ask({ do: "leave" });
  }

  /** All messages so far, as [author, text], in order. */
  messages() {
    return this.events.filter((event) => event.is === "message").map((event) => [event.name, event.text]);
  }

  async sees(text) {
    await this.#until(`${this.name} sees “${text}”`, () => this.messages().some((message) => message[1] === text));
  }

  async seesJoin(name) {
    const isIt = (event) => event.is === "joined" && event.name === name;
    await this.#until(`${this.name} sees ${name} join`, () => this.events.some(isIt));
  }

  async seesLeave(name) {
    const isIt = (event) => event.is === "left" && event.name === name;
    await this.#until(`${this.name} sees ${name} leave`, () => this.events.some(isIt));
  }

  /** Ends what a failed test left running, which would keep the test file from ending. */
  static endAll() {
    for (const child of SdkPerson.#everyone.splice(0)) child.kill("SIGKILL");
  }

  /** Ends the program in order. */
  async leave() {
    this.child.stdin.end();
    await eventually(`${this.name} ends`, () => this.#ended !== null);
    if (this.#ended !== "ended with 0") throw new Error(`${this.name} ${this.#ended}`);
  }
}
