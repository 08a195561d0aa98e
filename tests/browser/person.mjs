// A person who uses the page, and knows it by what it says.

import assert from "node:assert/strict";
import { theBrowser } from "./browser.mjs";
import { eventually, PATIENCE_MS } from "./waiting.mjs";

export const PASSWORD = "orbit velvet canyon seven lantern";

/** How often a page is opened whose loading was broken off, before the test fails. */
const OPEN_TRIES_MAX = 5;

/** Opens `url`, again while it is broken off: Chromium breaks off whatever it loads when an address of this machine changes, as it does when a container beside starts. */
async function open(page, url) {
  let broken = false;
  const note = (request) => (broken ||= /ERR_NETWORK_CHANGED/.test(request.failure()?.errorText));
  page.on("requestfailed", note);
  for (let tries = 0; tries < OPEN_TRIES_MAX; tries++) {
    broken = false;
    await page.goto(url).catch((error) => {
      if (!/ERR_NETWORK_CHANGED/.test(error.message)) throw error;
      broken = true;
    });
    if (!broken) break;
  }
  page.off("requestfailed", note);
  assert.ok(!broken, `${url} was broken off ${OPEN_TRIES_MAX} times`);
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
    await open(page, url);
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

  /** Opens a room that cannot be entered any more, from the start screen or where the page is in it already. */
  async openEnded(room, page = this.page) {
    const takeOff = page.getByRole("button", { name: "Take it off the list", exact: true });
    const item = page.getByRole("navigation", { name: "Your rooms" }).getByText(room, { exact: true }).first();
    await takeOff.or(item).first().waitFor();
    if (!(await takeOff.isVisible())) await item.click();
    await takeOff.waitFor();
  }

  async say(text, page = this.page) {
    await this.composer(page).fill(text);
    await page.keyboard.press("Enter");
    // A text leaves the composer once it is in the outbox.
    await eventually("the composer is empty", async () => (await this.composer(page).inputValue()) === "");
  }

  /** The element of a message whose own text (not its quote's) has this in it. */
  message(text, page = this.page) {
    return page.getByRole("article").filter({ has: page.locator(".said .text", { hasText: text }) });
  }

  async sees(text, page = this.page) {
    await this.message(text, page).first().waitFor();
  }

  /** The texts of all messages that are drawn, in order. */
  async texts(page = this.page) {
    return page.locator('[role="article"] .said .text').allInnerTexts();
  }

  /** Does with a message what stands in its menu under this name. */
  async choose(text, what, page = this.page) {
    const message = this.message(text, page).first();
    await message.locator(".bubble").hover();
    await message.getByRole("button", { name: "More actions" }).click();
    await page.getByRole("menu").getByText(what, { exact: true }).click();
  }

  async reply(to, text) {
    await this.choose(to, "Reply");
    await this.page.getByRole("group", { name: /^Replying to/ }).waitFor();
    await this.say(text);
  }

  async edit(text, changed) {
    await this.choose(text, "Edit");
    await this.saveEdit(changed);
  }

  /** Once an own message is in the composer. */
  async saveEdit(changed) {
    const editing = this.page.getByRole("group", { name: "Editing your message" });
    await editing.waitFor();
    await this.composer().fill(changed);
    await this.page.keyboard.press("Enter");
    await editing.waitFor({ state: "detached" });
  }

  async delete(text) {
    await this.choose(text, "Delete");
    const dialog = this.page.getByRole("dialog", { name: "Delete this message?" });
    await dialog.getByRole("button", { name: "Delete", exact: true }).click();
    await dialog.waitFor({ state: "detached" });
  }

  /** From the message's menu; the same emoji once more takes it back. */
  async react(text, emoji) {
    const message = this.message(text).first();
    await message.locator(".bubble").hover();
    await message.getByRole("button", { name: "More actions" }).click();
    await this.page.getByRole("menuitemcheckbox", { name: `React with ${emoji}` }).click();
  }

  /** The button that counts an emoji under a message. */
  reaction(text, emoji) {
    return this.message(text).getByRole("group", { name: "Reactions" }).getByRole("button", { name: emoji });
  }

  /** A line between the messages. */
  async isTold(line, page = this.page) {
    await page.locator("[data-row]:not([role=article])").filter({ hasText: line }).first().waitFor();
  }

  /** Opens what stands in the room's menu under this name. */
  async fromMenu(item) {
    await this.page.getByRole("button", { name: "Room menu" }).click();
    await this.page.getByRole("menuitem", { name: item }).click();
  }

  /** Comes in by a link. */
  static async comeByLink(name, link, room) {
    const person = await Person.arrive(name, link);
    await person.comeIn();
    await person.isIn(room);
    return person;
  }

  /** On the screen that an invite link opens. */
  async comeIn() {
    await this.page.getByLabel("Your name").fill(this.name);
    await this.page.getByRole("button", { name: "Come in" }).click();
  }

  /** Nothing in this room speaks against the server, and nothing went wrong in the page. */
  async findsNothingWrong(page = this.page) {
    assert.deepEqual(this.faults, []);
    for (const text of ["does not add up", "A message that could not be verified was left out"]) {
      assert.equal(await page.getByText(text).count(), 0, `${this.name}: ${text}`);
    }
  }

  async leave() {
    await this.context.close();
  }
}
