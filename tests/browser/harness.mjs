// What the browser tests share.

export { closeBrowser, theBrowser } from "./browser.mjs";
export { PASSWORD, Person } from "./person.mjs";
export { built, Snug } from "./snug.mjs";
export { eventually, PATIENCE_MS } from "./waiting.mjs";
