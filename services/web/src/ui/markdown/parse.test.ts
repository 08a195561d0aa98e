import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse, plainText, type Block, type Inline } from "./parse.ts";

/** Only the inline nodes of a text that is one paragraph. */
function line(text: string): readonly Inline[] {
  const [block, ...rest] = parse(text);
  if (block?.kind !== "paragraph" || rest.length > 0) throw new Error(`not one paragraph: ${text}`);
  return block.children;
}

const text = (value: string): Inline => ({ kind: "text", text: value });

describe("inline marks", () => {
  test("bold, italic and code become nodes", () => {
    expect(line("a **b** _c_ *d* `e`")).toEqual([
      text("a "),
      { kind: "strong", children: [text("b")] },
      text(" "),
      { kind: "emphasis", children: [text("c")] },
      text(" "),
      { kind: "emphasis", children: [text("d")] },
      text(" "),
      { kind: "code", text: "e" },
    ]);
  });

  test("marks nest", () => {
    expect(line("**a _b_ `c`**")).toEqual([
      {
        kind: "strong",
        children: [text("a "), { kind: "emphasis", children: [text("b")] }, text(" "), { kind: "code", text: "c" }],
      },
    ]);
  });

  test.each([
    "snake_case_name",
    "2*3*4",
    "a * b * c",
    "**open",
    "`open",
    "****",
    "__",
    "a ** b ** c",
    "*",
    "f(*args, **kw)",
  ])("%s stays what it is", (typed) => expect(line(typed)).toEqual([text(typed)]));

  test("nothing inside code is a mark", () => {
    expect(line("`**a** https://b.example`")).toEqual([{ kind: "code", text: "**a** https://b.example" }]);
    expect(line("``a`b``")).toEqual([{ kind: "code", text: "a`b" }]);
  });

  test("a star does not reach into the next line", () => {
    expect(line("*a\nb*")).toEqual([text("*a"), { kind: "break" }, text("b*")]);
  });
});

describe("links", () => {
  test.each([
    ["https://snug.example/a?b=c", "https://snug.example/a?b=c", ""],
    ["https://snug.example/a.", "https://snug.example/a", "."],
    ["http://snug.example/a_(b))", "http://snug.example/a_(b)", ")"],
    ["HTTPS://snug.example/", "https://snug.example/", ""],
  ])("%s leads to %s", (typed, href, tail) => {
    const shown = typed.slice(0, typed.length - tail.length);
    const link: Inline = { kind: "link", href, text: shown };
    expect(line(typed)).toEqual(tail === "" ? [link] : [link, text(tail)]);
  });

  test("a named link shows its name", () => {
    expect(line("see [here](https://snug.example/)")).toEqual([
      text("see "),
      { kind: "link", href: "https://snug.example/", text: "here" },
    ]);
  });

  test.each([
    "javascript:alert(1)",
    "[a](javascript:alert(1))",
    "[a](data:text/html,b)",
    "https://bank.example@evil.example/",
    "[a](https://bank.example:x@evil.example/)",
    "http://",
    "xhttps://a.example",
    "<img src=x onerror=alert(1)>",
  ])("%s is no link", (typed) => {
    expect(links(parse(typed))).toEqual([]);
    expect(plainText(parse(typed))).toBe(typed);
  });
});

describe("blocks", () => {
  test("a fence keeps its text as typed", () => {
    expect(parse("```rust\nlet a = *b;\n\n  c\n```\nafter")).toEqual([
      { kind: "code", language: "rust", text: "let a = *b;\n\n  c" },
      { kind: "paragraph", children: [text("after")] },
    ]);
  });

  test("a fence without an end is text", () => {
    expect(plainText(parse("```\na"))).toBe("```\na");
  });

  test("quotes nest and hold blocks", () => {
    expect(parse("> a\n> > b\n> - c")).toEqual([
      {
        kind: "quote",
        children: [
          { kind: "paragraph", children: [text("a")] },
          { kind: "quote", children: [{ kind: "paragraph", children: [text("b")] }] },
          { kind: "list", ordered: false, start: 1, items: [[text("c")]] },
        ],
      },
    ]);
  });

  test("lists count", () => {
    expect(parse("3. a\n4. b")).toEqual([{ kind: "list", ordered: true, start: 3, items: [[text("a")], [text("b")]] }]);
    expect(parse("- a\n- b")).toEqual([{ kind: "list", ordered: false, start: 1, items: [[text("a")], [text("b")]] }]);
  });
});

const marks = fc.constantFrom(
  "*",
  "**",
  "_",
  "__",
  "`",
  "```",
  "\n",
  "> ",
  "- ",
  "1. ",
  "[",
  "](",
  ")",
  "https://",
  " ",
  "a",
  "é",
  "<b>",
  "\\",
);
const typed = fc.oneof(
  fc.array(fc.oneof(marks, fc.string({ maxLength: 3 })), { maxLength: 60 }).map((parts) => parts.join("")),
  fc.string({ unit: "binary", maxLength: 200 }),
);

describe("whatever is typed", () => {
  test("only known nodes and safe links come out", () => {
    fc.assert(
      fc.property(typed, (value) => {
        const nodes = parse(value);
        kinds(nodes).forEach((kind) => expect(KINDS).toContain(kind));
        links(nodes).forEach((href) => expect(href).toMatch(/^https?:\/\//));
      }),
    );
  });

  test("every letter and digit that was typed is still there, in its order", () => {
    fc.assert(
      fc.property(typed, (value) => {
        const shown = [...plainText(parse(value))];
        let at = 0;
        // Numbers of lists, languages of fences and addresses behind named links are shown by other means than text.
        for (const letter of visibleWithoutMarks(value)) {
          at = shown.indexOf(letter, at) + 1;
          expect(at, `${letter} of ${JSON.stringify(value)}`).toBeGreaterThan(0);
        }
      }),
    );
  });

  // Ten times the longest message: what grows with the square of the length would not end within the runner's limit.
  test("a long line of marks is read to its end", () => {
    for (const mark of ["*", "_", "`", "**a ", "[", "> ", "`a``b", "*a _b "]) {
      const text = mark.repeat(Math.ceil(40_000 / mark.length));
      expect(parse(text).length, mark).toBeGreaterThan(0);
    }
  });
});

const KINDS = ["paragraph", "code", "quote", "list", "text", "break", "strong", "emphasis", "link"];

function visibleWithoutMarks(value: string): string[] {
  const withoutOtherMeans = value
    .split("\n")
    .map((each) => each.replace(/^[\s>]*(```[\w+#.-]*\s*$|\d{1,9}[.)] )/, ""))
    .join("\n")
    .replace(/\]\(https?:\/\/[^\s()<>]*\)/gi, "");
  return [...withoutOtherMeans].filter((letter) => /[\p{L}\p{N}]/u.test(letter));
}

function kinds(nodes: readonly Block[]): string[] {
  return nodes.flatMap((block) => {
    if (block.kind === "quote") return [block.kind, ...kinds(block.children)];
    if (block.kind === "code") return [block.kind];
    return [block.kind, ...inlinesOf(block).map((node) => node.kind)];
  });
}

function links(nodes: readonly Block[]): string[] {
  return nodes.flatMap((block) => {
    if (block.kind === "quote") return links(block.children);
    return inlinesOf(block).flatMap((node) => (node.kind === "link" ? [node.href] : []));
  });
}

function inlinesOf(block: Block): Inline[] {
  const flat = (nodes: readonly Inline[]): Inline[] =>
    nodes.flatMap((node) => ("children" in node ? [node, ...flat(node.children)] : [node]));
  if (block.kind === "paragraph") return flat(block.children);
  return block.kind === "list" ? block.items.flatMap((item) => flat(item)) : [];
}
