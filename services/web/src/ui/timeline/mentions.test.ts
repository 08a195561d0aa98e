import fc from "fast-check";
import { expect, test } from "vitest";
import { MENTIONS_MAX } from "../../protocol.gen.ts";
import { choices, complete, mentionsIn, NOBODY, pick, pieces, queryAt } from "./mentions.ts";
import { member } from "./testing/entries.ts";

const ana = member("Ana", { me: true });
const mateo = member("Mateo Ruiz");
const ruth = member("Ruth", { here: false });
const sam = member("Sam", { device: "sam-1", nameShared: true });
const otherSam = member("Sam", { device: "sam-2", nameShared: true });
const everybody = [ana, mateo, ruth, sam, otherSam];
const names = (found: readonly { readonly device: string }[]) => found.map((each) => each.device);

test("a name is being typed behind an @ at a word's start", () => {
  expect(queryAt("Hello @Ma", 9)).toEqual({ from: 6, to: 9, name: "Ma" });
  expect(queryAt("@", 1)).toEqual({ from: 0, to: 1, name: "" });
  expect(queryAt("(@mateo ru", 10)?.name).toBe("mateo ru");
  expect(queryAt("Hello @Ma and more", 9)?.name).toBe("Ma");
});

test("no name is being typed in an address, behind a blank or on another line", () => {
  expect(queryAt("ana@exam", 8)).toBeNull();
  expect(queryAt("at @ home", 9)).toBeNull();
  expect(queryAt("@Ma\nnext", 8)).toBeNull();
  expect(queryAt("Hello", 5)).toBeNull();
  expect(queryAt(`@${"x".repeat(60)}`, 61)).toBeNull();
});

test("names and words of names are found without regard to case and accents, who is here first, never oneself", () => {
  expect(names(choices(everybody, "ru"))).toEqual(["ruth", "mateo ruiz"]);
  expect(names(choices([member("Éva"), ana], "ev"))).toEqual(["éva"]);
  expect(names(choices(everybody, "an"))).toEqual([]);
  expect(names(choices(everybody, ""))).toEqual(["mateo ruiz", "sam-1", "sam-2", "ruth"]);
});

test("the list of choices is bounded", () => {
  const crowd = Array.from({ length: 500 }, (_, index) => member(`Person ${index}`));
  expect(choices(crowd, "per").length).toBe(8);
});

test("a chosen name is completed in its place", () => {
  const text = "Ask @mat first";
  const query = queryAt(text, 8);
  if (query === null) throw new Error("a name is being typed");
  expect(complete(text, query, "Mateo Ruiz")).toEqual({ text: "Ask @Mateo Ruiz first", caret: 16 });
  expect(complete("@", { from: 0, to: 1, name: "" }, "Ruth")).toEqual({ text: "@Ruth ", caret: 6 });
});

test("a name typed by hand counts if it can only mean one", () => {
  expect(mentionsIn("@Ruth, ask @Mateo Ruiz", everybody, NOBODY)).toEqual(["ruth", "mateo ruiz"]);
  expect(mentionsIn("@Sam?", everybody, NOBODY)).toEqual([]);
  expect(mentionsIn("@Ana", everybody, NOBODY)).toEqual([]);
});

test("who was chosen counts as long as the name is still there", () => {
  const picked = pick(NOBODY, otherSam);
  expect(mentionsIn("@Sam?", everybody, picked)).toEqual(["sam-2"]);
  expect(mentionsIn("Sam?", everybody, picked)).toEqual([]);
  expect(mentionsIn("@Sam and @Sam", everybody, pick(picked, sam))).toEqual(["sam-2", "sam-1"]);
  expect(mentionsIn("@*Star*", [member("*Star*")], new Map([["*Star*", new Set(["*star*"])]]))).toEqual(["*star*"]);
});

test("a name in code names nobody", () => {
  expect(mentionsIn("`@Ruth`\n```\n@Ruth\n```", everybody, NOBODY)).toEqual([]);
});

test("no more are told than a message may name", () => {
  const crowd = Array.from({ length: 80 }, (_, index) => member(`P${index}x`));
  expect(mentionsIn(crowd.map((each) => `@${each.name}`).join(" "), crowd, NOBODY).length).toBe(MENTIONS_MAX);
});

test("a text is cut at its names, the longest first", () => {
  const named = [{ name: "Ana" }, { name: "Ana Maria" }];
  expect(pieces("Hi @Ana Maria and @Ana!", named).map((piece) => [piece.text, piece.mention?.name])).toEqual([
    ["Hi ", undefined],
    ["@Ana Maria", "Ana Maria"],
    [" and ", undefined],
    ["@Ana", "Ana"],
    ["!", undefined],
  ]);
  expect(pieces("@Anabel, me@Ana", named).map((piece) => piece.mention)).toEqual([null]);
});

test("two people of one name are named in their order", () => {
  const named = [
    { name: "Sam", device: "1" },
    { name: "Sam", device: "2" },
  ];
  const found = pieces("@Sam @Sam @Sam", named).flatMap((piece) => (piece.mention ? [piece.mention.device] : []));
  expect(found).toEqual(["1", "2", "2"]);
});

test("cutting loses no letter", () => {
  const letters = fc.array(fc.constantFrom("@", "A", "na", " ", "é", "👍", "\n")).map((all) => all.join(""));
  fc.assert(
    fc.property(letters, (text) => {
      const cut = pieces(text, [{ name: "Ana" }, { name: "A" }, { name: "👍" }]);
      expect(cut.map((piece) => piece.text).join("")).toBe(text);
    }),
  );
});
