// @vitest-environment jsdom
import fc from "fast-check";
import { flushSync, mount, unmount } from "svelte";
import { expect, test } from "vitest";
import Markdown from "./Markdown.svelte";
import { parse, plainText } from "./parse.ts";

function drawn<T>(typed: string, look: (root: HTMLElement) => T): T {
  const target = document.createElement("div");
  const component = mount(Markdown, { target, props: { nodes: parse(typed) } });
  flushSync();
  try {
    return look(target);
  } finally {
    void unmount(component);
  }
}

const OURS = new Set(
  "P BR CODE STRONG EM A SPAN FIGURE FIGCAPTION BUTTON svg path rect PRE BLOCKQUOTE OL UL LI".split(" "),
);

test("whatever is typed, only our own elements come out, and links lead out safely", () => {
  const marks = fc.constantFrom(
    "**",
    "_",
    "`",
    "```\n",
    "\n",
    "> ",
    "- ",
    "1. ",
    "https://a.example/",
    "<img src=x onerror=b>",
    "[a](javascript:b)",
    "[a](https://b.example)",
    "c",
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(marks, fc.string({ maxLength: 3 })), { maxLength: 25 }), (parts) => {
      drawn(parts.join(""), (root) => {
        for (const element of root.querySelectorAll("*")) expect([...OURS]).toContain(element.nodeName);
        for (const link of root.querySelectorAll("a")) {
          expect(link.getAttribute("href")).toMatch(/^https?:\/\//);
          expect(link.rel).toBe("noopener noreferrer nofollow");
          expect(link.target).toBe("_blank");
        }
      });
    }),
    { numRuns: 60 },
  );
});

test("texts are drawn as they are, blanks and all", () => {
  for (const typed of ["a  b", "**a** b _c_", "see `x  y` there", "<b>not bold</b>", "1 < 2 & 3 > 2", "a **b**c"]) {
    drawn(typed, (root) => expect(root.textContent).toBe(plainText(parse(typed))));
  }
});

test("a line break is a line break", () => {
  drawn("a\nb", (root) => expect(root.querySelector("p")?.innerHTML.replaceAll("<!---->", "")).toBe("a<br>b"));
});

test("a code block keeps its text and can be copied", () => {
  drawn("```sh\n  ls -l\n\n```", (root) => {
    expect(root.querySelector("pre")?.textContent).toBe("  ls -l\n");
    expect(root.querySelector("button")?.getAttribute("aria-label")).toBe("Copy code");
  });
});
