// Looking after a room: each step is taken by its owner's page and seen by everyone in it.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  audit,
  changePassword,
  closeDialog,
  eraseMember,
  handOver,
  lock,
  memberLine,
  mute,
  openMember,
  openSettings,
  setRetention,
  setRole,
  setSlow,
  setTopic,
  topicOf,
  unlock,
  unmute,
} from "../governing.mjs";
import { closeBrowser, eventually, PASSWORD, Person, Snug } from "../harness.mjs";

const ROOM = "Allotment";
const NEW_PASSWORD = "copper meadow eleven violin harbour";

describe("looking after a room", () => {
  let snug;
  let ana;
  let ben;
  let cleo;
  let link;
  before(async () => {
    snug = await Snug.start();
    ana = await Person.arrive("Ana", snug.url);
    ({ link } = await ana.createRoom(ROOM));
    ben = await Person.arrive("Ben", snug.url);
    cleo = await Person.arrive("Cleo", snug.url);
    await Promise.all([ben.join(ROOM), cleo.join(ROOM)]);
    await ana.page.getByText("3 of 3 people here").waitFor();
  });
  after(async () => {
    await closeBrowser();
    await snug.stop();
  });

  const everyone = () => [ana, ben, cleo];
  /** Everyone reads this line between the messages. */
  const isTold = (line) => Promise.all(everyone().map((person) => person.isTold(line)));
  const text = (person) => person.composer().inputValue();

  it("a topic stands below the room's name for everyone", async () => {
    await setTopic(ana, "Who waters when");
    await isTold("Ana set the topic: “Who waters when”");
    for (const person of everyone()) await topicOf(person).getByText("Who waters when", { exact: true }).waitFor();
    await ben.page.reload();
    await topicOf(ben).getByText("Who waters when", { exact: true }).waitFor();
    const settings = await openSettings(cleo);
    await settings.getByText("The owners and moderators of this room can change these.").waitFor();
    assert.equal(await settings.getByRole("button", { name: /^Change/ }).count(), 0);
    await closeDialog(cleo);
  });

  it("a locked room tells a newcomer so, with the password and with an invite, and lets in once it is unlocked", async () => {
    await lock(ana);
    await isTold("Ana locked the room to newcomers");
    for (const person of everyone()) await person.page.getByRole("img", { name: "Locked: nobody new can come in" }).waitFor();
    const dora = await Person.arrive("Dora", snug.url);
    await dora.fillJoin(ROOM, PASSWORD);
    await dora.page.getByRole("alert").getByText("This room is locked, so nobody new can come in.").waitFor();
    const emil = await Person.arrive("Emil", link);
    await emil.comeIn();
    await emil.page.getByRole("alert").getByText("This room is locked, so nobody new can come in.").waitFor();
    await unlock(ana);
    await isTold("Ana unlocked the room");
    await dora.tryToJoin(ROOM, PASSWORD);
    await emil.comeIn();
    for (const person of [dora, emil]) {
      await person.isIn(ROOM);
      await person.fromMenu("Leave room");
      await person.page.getByRole("dialog").getByRole("button", { name: "Leave room" }).click();
      await person.page.getByRole("button", { name: "Join a room" }).waitFor();
      await person.leave();
    }
  });

  it("slow mode says how long to wait and keeps the text; who looks after the room does not wait", async () => {
    await setSlow(ana, "5 seconds");
    await isTold("Ana turned slow mode on: one message every 5 seconds");
    await ben.say("The first is free");
    const wait = ben.page.getByRole("timer").filter({ hasText: /Slow mode: you can send in \d s/ });
    await wait.waitFor();
    await ben.composer().fill("The second has to wait");
    await ben.page.keyboard.press("Enter");
    assert.equal(await text(ben), "The second has to wait");
    assert.ok(await ben.page.getByRole("button", { name: "Send", exact: true }).isDisabled());
    for (const line of ["Ana writes", "as she likes"]) await ana.say(line);
    await cleo.sees("as she likes");
    assert.equal(await cleo.message("The second has to wait").count(), 0);
    await wait.waitFor({ state: "detached" });
    await ben.composer().press("Enter");
    await cleo.sees("The second has to wait");
    await setSlow(ana, "Off");
    await isTold("Ana turned slow mode off");
    for (const line of ["Fast", "as before"]) await ben.say(line);
    await cleo.sees("as before");
  });

  it("who is muted is told and keeps the text, and can write again once that is lifted", async () => {
    await ben.composer().fill("Half a thought");
    await mute(ana, "Ben", "10 minutes");
    await isTold(/Ana muted Ben until/);
    await ben.page.getByText(/You cannot write here until .*Your text stays here\./).waitFor();
    await ben.composer().press("Enter");
    assert.equal(await text(ben), "Half a thought");
    for (const person of everyone()) await memberLine(person, "Ben").getByText("Muted").waitFor();
    await cleo.say("Silence over there?");
    await ben.sees("Silence over there?");
    await unmute(ana, "Ben");
    await isTold("Ana unmuted Ben");
    await ben.page.getByText(/You cannot write here/).waitFor({ state: "detached" });
    await ben.composer().press("Enter");
    await cleo.sees("Half a thought");
  });

  it("a moderator may look after the room, and no more once that is taken back", async () => {
    await setRole(ana, "Ben", "Moderator");
    await isTold("Ana made Ben a moderator");
    for (const person of everyone()) await memberLine(person, "Ben").getByText("Moderator").waitFor();
    await setTopic(ben, "Ben waters");
    await isTold("Ben set the topic: “Ben waters”");
    const settings = await openSettings(ben);
    assert.equal(await settings.getByRole("button", { name: "Change: Password" }).count(), 0);
    assert.equal(await settings.getByRole("button", { name: "Hand over the room" }).count(), 0);
    await closeDialog(ben);
    const hers = await openMember(ben, "Ana");
    assert.equal(await hers.getByRole("button", { name: "Mute" }).count(), 0);
    await closeDialog(ben);
    await setRole(ana, "Ben", "Member");
    await isTold("Ana made Ben a member");
    const after = await openSettings(ben);
    await after.getByText("The owners and moderators of this room can change these.").waitFor();
    await closeDialog(ben);
  });

  it("all messages of a member are erased for everyone, and nobody else's", async () => {
    for (const line of ["Spam one", "Spam two"]) await cleo.say(line);
    await ana.sees("Spam two");
    await eraseMember(ana, "Cleo");
    await isTold("Ana deleted all messages of Cleo");
    for (const person of everyone()) {
      for (const line of ["Spam one", "Spam two", "Silence over there?"]) {
        await person.message(line).waitFor({ state: "detached" });
      }
      await person.sees("Half a thought");
      await person.isTold(person === cleo ? /Ana deleted 2 messages of yours/ : /Ana deleted 2 messages of Cleo/);
    }
    await cleo.say("Sorry");
    await ana.sees("Sorry");
  });

  it("how long messages are kept is told and stands in everyone's settings", async () => {
    await setRetention(ana, "1 hour");
    await isTold("Ana set messages to be erased after 1 hour");
    const settings = await openSettings(cleo);
    await settings.getByText("For 1 hour", { exact: true }).waitFor();
    await closeDialog(cleo);
  });

  it("with a new password the old one is refused, everyone stays in, and an older invite still works", async () => {
    await changePassword(ana, NEW_PASSWORD);
    await isTold("Ana changed the password");
    await cleo.say("Still here");
    for (const person of everyone()) await person.sees("Still here");
    await cleo.page.reload();
    await cleo.isIn(ROOM);
    await cleo.say("Also after a reload");
    await ben.sees("Also after a reload");
    const dora = await Person.arrive("Dora", snug.url);
    await dora.fillJoin(ROOM, PASSWORD);
    await dora.page.getByRole("alert").getByText("No room with that name and password.").waitFor();
    await dora.tryToJoin(ROOM, NEW_PASSWORD);
    await dora.isIn(ROOM);
    await dora.sees("Also after a reload");
    const emil = await Person.comeByLink("Emil", link, ROOM);
    await emil.sees("Also after a reload");
    for (const person of [dora, emil]) await person.leave();
  });

  it("the room is handed over, and its former owner moderates", async () => {
    await handOver(ana, "Ben");
    await isTold("Ana handed the room over to Ben");
    for (const person of everyone()) {
      await memberLine(person, "Ben").getByText("Owner").waitFor();
      await memberLine(person, "Ana").getByText("Moderator").waitFor();
    }
    const settings = await openSettings(ana);
    assert.equal(await settings.getByRole("button", { name: "Hand over the room" }).count(), 0);
    await closeDialog(ana);
  });

  it("a plain member reads every step and who took it", async () => {
    const sentences = await audit(cleo);
    const expected = [
      "Ana handed the room over to Ben",
      "Ana changed the password",
      "Ana set messages to be erased after 1 hour",
      "Ana deleted all messages of Cleo",
      "Ana made Ben a member",
      "Ben set the topic: “Ben waters”",
      "Ana made Ben a moderator",
      "Ana unmuted Ben",
      /^Ana muted Ben until /,
      "Ana turned slow mode off",
      "Ana turned slow mode on: one message every 5 seconds",
      "Ana unlocked the room",
      "Ana locked the room to newcomers",
      "Ana set the topic: “Who waters when”",
      "Ana created the room",
    ];
    assert.equal(sentences.length, expected.length, sentences.join("\n"));
    for (const [at, line] of expected.entries()) {
      if (typeof line === "string") assert.equal(sentences[at], line);
      else assert.match(sentences[at], line);
    }
    assert.deepEqual(await audit(ana), sentences);
    for (const person of everyone()) await person.findsNothingWrong();
  });

  it("the new owner deletes the room for everyone", async () => {
    await ben.fromMenu("Delete room");
    const dialog = ben.page.getByRole("dialog");
    await dialog.getByRole("textbox").fill(ROOM);
    await dialog.getByRole("button", { name: "Delete for everyone" }).click();
    for (const person of [ana, cleo]) await person.page.getByText("The server says that this room was deleted by its owner").waitFor();
    await eventually("it is off the list of who deleted it", async () => {
      const listed = ben.page.getByRole("navigation", { name: "Your rooms" }).getByText(ROOM);
      return (await listed.count()) === 0 || (await ben.page.getByText("Deleted", { exact: true }).isVisible());
    });
  });
});
