import fc from "fast-check";
import { expect, it } from "vitest";

import { base32, fromBase32 } from "./base32.ts";
import { b64, fromB64 } from "./base64url.ts";
import { copy, Reader, u64 } from "./bytes.ts";

const bytes = fc.uint8Array({ maxLength: 100 });

it("base64url is what Node makes of the same bytes, and comes back", () => {
  fc.assert(
    fc.property(bytes, (value) => {
      expect(b64(value)).toBe(Buffer.from(value).toString("base64url"));
      expect(fromB64(b64(value))).toEqual(copy(value));
    }),
  );
});

it("base64url has one text for each byte string", () => {
  for (const text of ["A", "AB", "AA=", "A+", "A/", "QQ==", "Q R", "QR"]) expect(() => fromB64(text), text).toThrow();
  expect(() => fromB64("QUJD", 4)).toThrow();
  expect([...fromB64("QUJD", 3)]).toEqual([65, 66, 67]);
});

it("base32 comes back in either case", () => {
  fc.assert(
    fc.property(bytes, (value) => {
      expect(fromBase32(base32(value))).toEqual(copy(value));
      expect(fromBase32(base32(value).toUpperCase())).toEqual(copy(value));
    }),
  );
  expect(base32(new TextEncoder().encode("foobar"))).toBe("mzxw6ytboi");
  for (const text of ["a", "a1", "ab8", "zz"]) expect(() => fromBase32(text), text).toThrow();
});

it("numbers at and above 2^53 are refused", () => {
  expect(new Reader(u64(2 ** 53 - 1)).u64()).toBe(2 ** 53 - 1);
  expect(() => u64(2 ** 53)).toThrow();
  expect(() => new Reader(Uint8Array.of(0, 32, 0, 0, 0, 0, 0, 0)).u64()).toThrow();
  expect(() => new Reader(Uint8Array.of(1)).u16()).toThrow();
});
