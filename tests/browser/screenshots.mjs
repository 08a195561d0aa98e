// Pictures of the page in use, for the README: desktop and phone, light and dark.

import { mkdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { closeBrowser, Person, Snug } from "./harness.mjs";

const out = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../services/web/screenshots");
mkdirSync(out, { recursive: true });

const snug = await Snug.start();
const desktop = { viewport: { width: 1280, height: 800 } };
const ana = await Person.arrive("Ana", snug.url, { ...desktop, colorScheme: "light" });
await ana.createRoom("Sunday kitchen");
const ben = await Person.arrive("Ben", snug.url, { viewport: { width: 390, height: 844 }, colorScheme: "dark" });
await ben.join("Sunday kitchen");
const cleo = await Person.arrive("Cleo", snug.url, desktop);
await cleo.join("Sunday kitchen");
const talk = [
  [ana, "Who brings the bread this time?"],
  [ben, "Me. The sourdough one, unless someone objects"],
  [cleo, "Nobody ever objects to the sourdough"],
  [cleo, "I have tomatoes, *too many* tomatoes"],
  [ana, "Then the plan is:\n- Ben: **bread**\n- Cleo: tomatoes, the surplus thereof\n- me: `everything else`"],
  [ben, "Recipe for the soup is still https://example.com/soup I think"],
  [ana, "It is. See you at one"],
];
for (const [person, text] of talk) {
  await person.say(text);
  for (const other of [ana, ben, cleo]) await other.sees(text.split("\n")[0].split(" https://")[0].replaceAll(/[*`]/g, ""));
}
await ana.page.screenshot({ path: path.join(out, "room-desktop.png") });
await ben.page.screenshot({ path: path.join(out, "room-phone-dark.png") });
const dan = await Person.arrive("Dan", snug.url, { ...desktop, colorScheme: "dark" });
await dan.page.screenshot({ path: path.join(out, "start-dark.png") });
await closeBrowser();
await snug.stop();
console.log(`Pictures are in ${out}`);
