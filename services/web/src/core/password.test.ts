import { expect, it } from "vitest";

import { ratePassword, suggestPassphrase } from "./password.ts";

it("weak passwords are refused with a reason", async () => {
  for (const [password, advice] of [
    ["", "too_short"],
    ["x9!Qz", "too_short"],
    ["password123", "common"],
    ["aaaaaaaaaaaaaa", "repeats"],
    ["Book Club 2026", "contains_name"],
    ["x".repeat(257), "too_long"],
  ] as const) {
    expect(await ratePassword(password, ["Book Club", "Ana"]), password).toMatchObject({ accepted: false, advice });
  }
}, 30_000);

it("suggested passphrases are accepted and differ", async () => {
  const [a, b] = [await suggestPassphrase(), await suggestPassphrase()];
  expect(a).toMatch(/^[a-z]+(-[a-z]+){5}$/);
  expect(a).not.toBe(b);
  expect(await ratePassword(a, [])).toEqual({ score: 4, accepted: true, advice: null });
}, 30_000);
