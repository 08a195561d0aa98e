import { expect, test } from "vitest";
import { place } from "./place.ts";

const popup = { width: 200, height: 300 };
const window = { width: 1000, height: 800 };
const point = (x: number, y: number) => ({ left: x, top: y, right: x, bottom: y });

test("a popup stands below its place where it fits, and above where it does not", () => {
  expect(place(popup, point(100, 100), window)).toEqual({ left: 100, top: 104 });
  expect(place(popup, point(100, 700), window)).toEqual({ left: 100, top: 396 });
});

test("a popup never leaves the window", () => {
  expect(place(popup, point(990, 10), window).left).toBe(792);
  expect(place(popup, point(-5, 10), window).left).toBe(8);
  expect(place(popup, point(100, 250), { width: 1000, height: 320 }).top).toBe(12);
  expect(place(popup, point(100, 250), { width: 1000, height: 290 }).top).toBe(8);
});

test("a popup of something on the right ends where that ends", () => {
  expect(place(popup, { left: 700, right: 900, top: 50, bottom: 90 }, window)).toEqual({ left: 700, top: 94 });
  expect(place(popup, { left: 850, right: 900, top: 50, bottom: 90 }, window)).toEqual({ left: 700, top: 94 });
});
