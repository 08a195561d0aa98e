// The real binary on a port of its own.

import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

const FAST = [
  "--http-per-second=100000",
  "--http-burst=100000",
  "--creates-per-minute=100000",
  "--sign-ins-per-minute=100000",
  "--connections-per-address=10000",
  "--sends-per-second=1000",
  "--sends-burst=1000",
];

/** The path of a binary that `cargo build --workspace` made. */
export function built(name) {
  return path.join(process.env.CARGO_TARGET_DIR ?? path.join(root, "target"), "debug", name);
}

// As `free_port` of tests/backing: below what the system gives to listeners on port 0 and to outgoing connections, so that nothing takes
// a port between two starts of the node that has it; processes begin far apart, and each call gives another port.
const FIRST_PORT = 12_000;
const PORTS = 20_000;
let given = 0;

/** A port that nobody listens on. */
async function freePort() {
  while (given < PORTS) {
    const port = FIRST_PORT + ((process.pid * 7_919 + given++) % PORTS);
    if (await isFree(port)) return port;
  }
  throw new Error("all ports are taken");
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.on("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** A running `snug` with a data folder of its own, which outlives a kill. */
export class Snug {
  #child = null;
  #folder = mkdtempSync(path.join(tmpdir(), "snug-browser-"));
  #args;

  static async start(args = []) {
    const snug = new Snug();
    snug.port = await freePort();
    snug.#args = typeof args === "function" ? args(snug.port) : args;
    await snug.restart();
    return snug;
  }

  /** The address that people open. */
  get url() {
    return `http://localhost:${this.port}`;
  }

  async restart() {
    const args = [`--listen=127.0.0.1:${this.port}`, `--data-dir=${this.#folder}`, ...FAST, ...this.#args];
    const child = spawn(built("snug"), args, { stdio: ["ignore", "pipe", "inherit"], env: { SNUG_LOG: "warn" } });
    this.#child = child;
    const lines = readline.createInterface({ input: child.stdout });
    await new Promise((resolve, reject) => {
      lines.once("line", resolve);
      child.once("exit", (code) => reject(new Error(`snug ended with ${code} before it was ready`)));
    });
  }

  /** kill -9 */
  kill() {
    return this.#end("SIGKILL");
  }

  /** As an operator stops it: the database is closed in order. */
  shutDown() {
    return this.#end("SIGTERM");
  }

  async #end(signal) {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise((resolve) => {
      child.once("exit", resolve);
      child.kill(signal);
    });
  }

  /** Keeps a copy of all data as it is now. */
  async backUp() {
    await this.shutDown();
    cpSync(this.#folder, `${this.#folder}-backup`, { recursive: true });
    await this.restart();
  }

  /** Puts the copy in the place of what there is. */
  async restore() {
    await this.shutDown();
    rmSync(this.#folder, { recursive: true });
    cpSync(`${this.#folder}-backup`, this.#folder, { recursive: true });
    await this.restart();
  }

  /** Whether these bytes stand anywhere in the data folder: the database, its journal, or what lies beside it. */
  keeps(bytes) {
    const files = readdirSync(this.#folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
    return files.some((file) => readFileSync(path.join(file.parentPath, file.name)).includes(bytes));
  }

  async stop() {
    await this.kill();
    for (const folder of [this.#folder, `${this.#folder}-backup`]) rmSync(folder, { recursive: true, force: true });
  }
}
