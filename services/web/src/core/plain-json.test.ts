import { readFileSync } from "node:fs";

import { expect, it } from "vitest";

import { parseBody } from "./bodies.ts";
import { parsePlain } from "./plain-json.ts";

interface Said {
  readonly name: string;
  readonly type: number;
  readonly body: string;
}

const path = new URL("../../../protocol/vectors/bodies-v1.json", import.meta.url);
const vectors = JSON.parse(readFileSync(path, "utf8")) as { accepted: Said[]; refused: Said[] };

it.each(vectors.accepted)("a body is read here as the SDK reads it: $name", async ({ type, body }) => {
  await expect(parseBody(type, body)).resolves.toBeDefined();
});

it.each(vectors.refused)("a body is refused here as the SDK refuses it: $name", async ({ type, body }) => {
  await expect(parseBody(type, body)).rejects.toThrow();
});

it("what is written here is plain", () => {
  for (const value of [{ n: Number.MAX_SAFE_INTEGER, t: '\u{1f600}\u2028"\\' }, [], "", 0, null]) {
    expect(parsePlain(JSON.stringify(value))).toEqual(value);
  }
});
