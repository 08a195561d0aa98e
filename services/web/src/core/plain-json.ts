//! The JSON of bodies. Every body has a form in which no two readers of JSON take it for different things, in ignored fields
//! either: readers differ where texts have half a character, where numbers are long, large or broken, and where values lie deep
//! in one another. The SDK has the same form (`crypto/plain.rs`), and the same vectors (`bodies-v1.json`).

/** Arrays and objects in one another. */
const DEPTH_MAX = 32;

/** What stands outside of texts and matters here, and texts, which may be such as end nowhere. */
const TOKENS = /"(?:[^"\\]|\\[^])*("?)|[[\]{}]|[-+.\d][-+.\deE]*/g;
const ESCAPES = /\\(?:u([\da-fA-F]{4})|([^]))/g;

/** Reads the JSON of a body. Throws `SyntaxError`, also on what another reader might take for something else. */
export function parsePlain(json: string): unknown {
  let depth = 0;
  for (const [token, end] of json.matchAll(TOKENS)) {
    if (token.startsWith('"')) demand(end === '"' && isWhole(token));
    else if (token === "{" || token === "[") demand(++depth <= DEPTH_MAX);
    else if (token === "}" || token === "]") depth = Math.max(0, depth - 1);
    else demand(isInteger(token));
  }
  return JSON.parse(json) as unknown;
}

function demand(holds: boolean): void {
  if (!holds) throw new SyntaxError("not the JSON of a body");
}

/** Whether no escape of the text stands for half a character. */
function isWhole(text: string): boolean {
  let high = -1;
  for (const { 1: hex, 2: other, index } of text.matchAll(ESCAPES)) {
    const unit = hex === undefined ? 0 : Number.parseInt(hex, 16);
    const isLow = unit >= 0xdc00 && unit <= 0xdfff;
    if (other === "u" || (high >= 0 ? !isLow || index !== high : isLow)) return false;
    high = unit >= 0xd800 && unit <= 0xdbff ? index + 6 : -1;
  }
  return high < 0;
}

/** An integer in decimal digits that any reader has exactly. */
function isInteger(number: string): boolean {
  return /^(?:0|-?[1-9]\d{0,15})$/.test(number) && Number.isSafeInteger(Number(number));
}
