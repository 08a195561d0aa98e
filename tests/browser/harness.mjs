// What the browser tests share: the real binary on a port of its own, a real Chromium, and a person who uses the page.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, "../..");

/** How long anything may take before a test fails. Long: two cores hash passwords for several people at once. */
export const PATIENCE_MS = 60_000;
export const PASSWORD = "orbit velvet canyon seven lantern";

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

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
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
  async kill() {
    const child = this.#child;
    if (child === null || child.exitCode !== null) return;
    await new Promise((resolve) => {
      child.once("exit", resolve);
      child.kill("SIGKILL");
    });
  }

  async stop() {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

let browser = null;

/** The one Chromium of a test file. */
export async function theBrowser() {
  if (browser === null) {
    const found = execFileSync(path.join(root, "tests/setup/chromium"), { encoding: "utf8" }).trim().split("\n");
    browser = await chromium.launch({
      executablePath: found[0],
      args: [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        // A name that is not localhost, for what a browser only does there.
        "--host-resolver-rules=MAP snug.localtest 127.0.0.1",
      ],
    });
  }
  return browser;
}

export async function closeBrowser() {
  await browser?.close();
  browser = null;
}

/** One person: a browser profile with a page, who knows the page by what it says. */
export class Person {
  /** What went wrong in the page that nobody expected. */
  faults = [];

  constructor(name, context, url) {
    this.name = name;
    this.context = context;
    this.url = url;
  }

  static async arrive(name, url, options = {}) {
    const context = await (await theBrowser()).newContext({ locale: "en-GB", timezoneId: "Europe/Lisbon", ...options });
    context.setDefaultTimeout(PATIENCE_MS);
    const person = new Person(name, context, url);
    person.page = await person.tab(url);
    return person;
  }

  /** Opens one more tab of the same profile. */
  async tab(url = this.url) {
    const page = await this.context.newPage();
    page.on("pageerror", (error) => this.faults.push(`${error}`));
    page.on("console", (message) => {
      // A refused or broken connection is part of several tests; everything else on the console is a fault.
      if (message.type() === "error" && !/ERR_|WebSocket|status of 4|status of 5/.test(message.text())) {
        this.faults.push(message.text());
      }
    });
    await page.goto(url);
    return page;
  }

  async createRoom(room, password = PASSWORD) {
    const { page } = this;
    await page.getByRole("button", { name: "Create a room" }).click();
    await page.getByLabel("Your name").fill(this.name);
    await page.getByLabel("Room name").fill(room);
    await page.getByLabel("Room password", { exact: true }).fill(password);
    await page.getByRole("button", { name: "Create room" }).click();
    await page.getByRole("heading", { name: `“${room}” is ready` }).waitFor();
    const link = await page.getByLabel("Invite link", { exact: true }).first().inputValue();
    const recovery = await page.getByLabel("Recovery key", { exact: true }).inputValue();
    await page.getByLabel("I saved the recovery key").check();
    await page.getByRole("button", { name: "Go to the room" }).click();
    await this.isIn(room);
    return { link, recovery };
  }

  /** From the start screen. */
  async fillJoin(room, password) {
    await this.page.getByRole("button", { name: "Join a room" }).click();
    await this.page.getByLabel("Your name").fill(this.name);
    await this.tryToJoin(room, password);
  }

  /** On the join screen. */
  async tryToJoin(room, password) {
    const { page } = this;
    await page.getByLabel("Room name").fill(room);
    await page.getByLabel("Room password", { exact: true }).fill(password);
    await page.getByRole("button", { name: "Join room" }).click();
  }

  async join(room, password = PASSWORD) {
    await this.fillJoin(room, password);
    await this.isIn(room);
  }

  composer(page = this.page) {
    return page.getByRole("textbox", { name: /^Message to / });
  }

  async isIn(room, page = this.page) {
    await page.getByRole("textbox", { name: `Message to ${room}` }).waitFor();
  }

  /** Opens one of this person's rooms from the start screen, where the page is not in it already. */
  async openRoom(room, page = this.page) {
    const item = page.getByRole("navigation", { name: "Your rooms" }).getByText(room, { exact: true }).first();
    await eventually(`${room} is open`, async () => {
      if (await this.composer(page).isVisible()) return true;
      if (await item.isVisible()) await item.click();
      return false;
    });
    await this.isIn(room, page);
  }

  async say(text, page = this.page) {
    await this.composer(page).fill(text);
    await page.keyboard.press("Enter");
    // A text leaves the composer once it is in the outbox.
    await eventually("the composer is empty", async () => (await this.composer(page).inputValue()) === "");
  }

  /** The element of a message with this text. */
  message(text, page = this.page) {
    return page.getByRole("article").filter({ hasText: text });
  }

  async sees(text, page = this.page) {
    await this.message(text, page).first().waitFor();
  }

  /** The texts of all messages that are drawn, in order. */
  async texts(page = this.page) {
    return page.locator('[role="article"] .text').allInnerTexts();
  }

  async leave() {
    await this.context.close();
  }
}

/** Waits until `look` returns something truthy. */
export async function eventually(what, look) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`did not happen in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
