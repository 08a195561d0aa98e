// A real cluster: HAProxy, three nodes, Redis and Postgres, driven by lines of JSON (tests/src/bin/fleet.rs).

import { spawn } from "node:child_process";
import readline from "node:readline";
import { built, eventually } from "./harness.mjs";

export class Fleet {
  /** Of the program's lines, those that somebody waits for, in order. */
  #waiting = [];
  #ended = null;

  /** Starts everything; ready when the load balancer leads to every node. */
  static async start() {
    const fleet = new Fleet();
    fleet.url = (await fleet.#line("it was ready")).url;
    return fleet;
  }

  constructor() {
    this.child = spawn(built("fleet"), { stdio: ["pipe", "pipe", "inherit"] });
    const end = (how) => {
      this.#ended = how;
      for (const { reject, what } of this.#waiting.splice(0)) reject(new Error(`fleet ${how} before ${what}`));
    };
    this.child.once("error", (error) => end(`${error}`));
    this.child.once("exit", (code, signal) => end(`ended with ${code ?? signal}`));
    // A write to one that has ended is told to whoever waits for its answer.
    this.child.stdin.on("error", () => {});
    const lines = readline.createInterface({ input: this.child.stdout });
    lines.on("line", (line) => this.#waiting.shift()?.resolve(JSON.parse(line)));
  }

  /** The next line that nobody waits for yet. The program's own waits have deadlines, longer than the browser tests' when it starts. */
  #line(what) {
    if (this.#ended !== null) throw new Error(`fleet ${this.#ended} before ${what}`);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject, what }));
  }

  async #ask(command) {
    this.child.stdin.write(`${JSON.stringify(command)}\n`);
    return (await this.#line(`it had done ${JSON.stringify(command)}`)).answer;
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
