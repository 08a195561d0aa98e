// A real cluster: HAProxy, three nodes, Redis and Postgres, driven by lines of JSON (tests/src/bin/fleet.rs).

import { spawn } from "node:child_process";
import readline from "node:readline";
import { built, eventually } from "./harness.mjs";

export class Fleet {
  #answers = [];
  #asked = 0;
  #ended = null;

  /** Starts everything; ready when the load balancer leads to every node. */
  static async start() {
    const fleet = new Fleet();
    const { url } = await fleet.#answer(0, "the cluster starts");
    // The page's cookie and storage are of this name.
    fleet.url = url;
    return fleet;
  }

  constructor() {
    this.child = spawn(built("fleet"), { stdio: ["pipe", "pipe", "inherit"] });
    this.child.once("error", (error) => (this.#ended = `${error}`));
    this.child.once("exit", (code, signal) => (this.#ended = `ended with ${code ?? signal}`));
    // A write to one that has ended is told by what waits for its answer.
    this.child.stdin.on("error", () => {});
    readline.createInterface({ input: this.child.stdout }).on("line", (line) => this.#answers.push(JSON.parse(line)));
  }

  async #answer(turn, what) {
    return eventually(what, () => {
      if (this.#answers[turn] === undefined && this.#ended !== null) throw new Error(`fleet ${this.#ended} before: ${what}`);
      return this.#answers[turn];
    });
  }

  async #ask(command) {
    // The first line is the address.
    const turn = ++this.#asked;
    this.child.stdin.write(`${JSON.stringify(command)}\n`);
    return (await this.#answer(turn, JSON.stringify(command))).answer;
  }

  /** kill -9; returns the signal that the node died of. */
  kill(node) {
    return this.#ask({ do: "kill", node });
  }

  /** SIGTERM; returns whether the node ended well, once it has. */
  drain(node) {
    return this.#ask({ do: "drain", node });
  }

  /** Starts a node that does not run. */
  start(node) {
    return this.#ask({ do: "start", node });
  }

  /** At which node each device's newest session began, as {device: node}. */
  where() {
    return this.#ask({ do: "where" });
  }

  async stop() {
    this.child.stdin.end();
    await eventually("the cluster ends", () => this.#ended !== null);
  }
}
