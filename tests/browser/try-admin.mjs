import * as g from "./governing.mjs";
import { closeBrowser, Person, Snug, eventually } from "./harness.mjs";
const snug = await Snug.start();
const t0 = Date.now();
const log = (...a) => console.log(((Date.now()-t0)/1000).toFixed(1), ...a);
try {
  const ana = await Person.arrive("Ana", snug.url);
  const { link, recovery } = await ana.createRoom("Room one");
  const ben = await Person.arrive("Ben", snug.url); await ben.join("Room one");
  const cleo = await Person.arrive("Cleo", snug.url); await cleo.join("Room one");
  await cleo.say("hello from cleo"); await ana.sees("hello from cleo");
  await g.setTopic(ana, "Gardens"); log("topic set");
  await g.topicOf(ben).getByText("Gardens").waitFor(); log("topic seen");
  await g.lock(ana); await g.unlock(ana); log("lock ok");
  await g.setRole(ana, "Ben", "Moderator"); log("role ok");
  await g.changePassword(ana, "another velvet canyon seven lantern"); log("password ok");
  console.log(await g.audit(cleo));
  for (const p of [ana, ben, cleo]) if (p.faults.length) console.log(p.name, p.faults);
  await ana.page.screenshot({ path: "/tmp/s_ana.png" });
  const eve = await Person.arrive("Eve", snug.url);
  await eve.page.getByRole("button", { name: /recover/i }).first().click().catch(()=>{});
  await eve.page.screenshot({ path: "/tmp/s_eve.png" });
  console.log(await eve.page.locator("body").innerText());
  log("recovery", recovery);
} catch (e) { console.log(e); } finally { await closeBrowser(); await snug.stop(); }
