/**
 * The markdown that messages may use, as a tree of nodes: bold, italic, inline code, code blocks, quotes, lists, links.
 *
 * There is no HTML, neither in nor out: whatever is not one of these marks stays the text it was. Marks are only taken away where
 * both ends are found, so no letter a person typed can get lost. The depth of nesting is bounded.
 */

export type Block =
  | { readonly kind: "paragraph"; readonly children: readonly Inline[] }
  | { readonly kind: "code"; readonly language: string; readonly text: string }
  | { readonly kind: "quote"; readonly children: readonly Block[] }
  | {
      readonly kind: "list";
      readonly ordered: boolean;
      readonly start: number;
      readonly items: readonly (readonly Inline[])[];
    };

export type Inline =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "break" }
  | { readonly kind: "code"; readonly text: string }
  | { readonly kind: "strong"; readonly children: readonly Inline[] }
  | { readonly kind: "emphasis"; readonly children: readonly Inline[] }
  | { readonly kind: "link"; readonly href: string; readonly text: string };

const DEPTH_MAX = 4;
const FENCE = /^ {0,3}```([\w+#.-]{0,30})\s*$/;
const FENCE_END = /^ {0,3}```\s*$/;
const QUOTE = /^ {0,3}> ?/;
const BULLET = /^ {0,3}[-*+] +(?=\S)/;
const NUMBERED = /^ {0,3}(\d{1,9})[.)] +(?=\S)/;

export function parse(text: string): readonly Block[] {
  return blocks(text.split("\n"), 0);
}

function blocks(lines: readonly string[], depth: number): Block[] {
  const found: Block[] = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at] ?? "";
    const fence = FENCE.exec(line);
    const fenceEnd = fence === null ? -1 : lines.findIndex((other, index) => index > at && FENCE_END.test(other));
    if (fence !== null && fenceEnd > at) {
      found.push({ kind: "code", language: fence[1] ?? "", text: lines.slice(at + 1, fenceEnd).join("\n") });
      at = fenceEnd + 1;
    } else if (QUOTE.test(line) && depth < DEPTH_MAX) {
      const end = runEnd(lines, at, (other) => QUOTE.test(other));
      const inner = lines.slice(at, end).map((other) => other.replace(QUOTE, ""));
      found.push({ kind: "quote", children: blocks(inner, depth + 1) });
      at = end;
    } else if (BULLET.test(line)) {
      const end = runEnd(lines, at, (other) => BULLET.test(other));
      const items = lines.slice(at, end).map((other) => inlines(other.replace(BULLET, ""), 0));
      found.push({ kind: "list", ordered: false, start: 1, items });
      at = end;
    } else if (NUMBERED.test(line)) {
      const start = Number(NUMBERED.exec(line)?.[1] ?? "1");
      // Only a list that counts up by one is a list: a line that begins with a year keeps its number.
      const end = runEnd(
        lines,
        at,
        (other, index) => Number(NUMBERED.exec(other)?.[1] ?? Number.NaN) === start + index - at,
      );
      const items = lines.slice(at, end).map((other) => inlines(other.replace(NUMBERED, ""), 0));
      found.push({ kind: "list", ordered: true, start, items });
      at = end;
    } else if (line.trim() === "") {
      at += 1;
    } else {
      const end = Math.max(
        at + 1,
        runEnd(lines, at, (_, index) => index === at || !startsBlock(lines, index, depth)),
      );
      found.push({ kind: "paragraph", children: paragraph(lines.slice(at, end)) });
      at = end;
    }
  }
  return found;
}

function runEnd(lines: readonly string[], from: number, belongs: (line: string, index: number) => boolean): number {
  let end = from;
  while (end < lines.length && belongs(lines[end] ?? "", end)) end += 1;
  return end;
}

function startsBlock(lines: readonly string[], at: number, depth: number): boolean {
  const line = lines[at] ?? "";
  if (line.trim() === "") return true;
  if (QUOTE.test(line)) return depth < DEPTH_MAX;
  if (BULLET.test(line) || NUMBERED.test(line)) return true;
  return FENCE.test(line) && lines.some((other, index) => index > at && FENCE_END.test(other));
}

function paragraph(lines: readonly string[]): Inline[] {
  const children: Inline[] = [];
  // Emphasis does not reach over a line's end: an unpaired star in one line must not change the next.
  lines.forEach((line, index) => {
    if (index > 0) children.push({ kind: "break" });
    children.push(...inlines(line, 0));
  });
  return children;
}

/** What a mark at this place turns into, and where the text goes on behind it. */
interface Span {
  readonly node: Inline;
  readonly end: number;
}

function inlines(text: string, depth: number): Inline[] {
  const found: Inline[] = [];
  let plain = "";
  let at = 0;
  // Ends that were looked for and are not there, so that a line of thousands of stars is read once and not thousands of times.
  const missing = new Set<string>();
  while (at < text.length) {
    const span = spanAt(text, at, depth, missing);
    if (span === null) {
      plain += text[at] ?? "";
      at += 1;
      continue;
    }
    if (plain !== "") found.push({ kind: "text", text: plain });
    plain = "";
    found.push(span.node);
    at = span.end;
  }
  if (plain !== "") found.push({ kind: "text", text: plain });
  return found;
}

function spanAt(text: string, at: number, depth: number, missing: Set<string>): Span | null {
  switch (text[at]) {
    case "`":
      return codeAt(text, at, missing);
    case "*":
    case "_":
      return depth < DEPTH_MAX ? emphasisAt(text, at, depth, missing) : null;
    case "[":
      return namedLinkAt(text, at);
    case "h":
    case "H":
      return bareLinkAt(text, at);
    default:
      return null;
  }
}

function codeAt(text: string, at: number, missing: Set<string>): Span | null {
  if (text[at - 1] === "`") return null;
  let open = at;
  while (text[open] === "`") open += 1;
  const ticks = text.slice(at, open);
  if (missing.has(ticks)) return null;
  for (let close = text.indexOf(ticks, open); close !== -1; close = text.indexOf(ticks, close)) {
    let end = close;
    while (text[end] === "`") end += 1;
    if (end - close === ticks.length) return { node: { kind: "code", text: text.slice(open, close) }, end };
    close = end;
  }
  missing.add(ticks);
  return null;
}

function emphasisAt(text: string, at: number, depth: number, missing: Set<string>): Span | null {
  const letter = text[at] ?? "";
  const mark = text[at + 1] === letter ? letter + letter : letter;
  const open = at + mark.length;
  // In snake_case_names and 2*3*4 the marks are letters.
  if (
    missing.has(mark) ||
    isBlank(text[open]) ||
    text[open] === letter ||
    text[at - 1] === letter ||
    isWord(text[at - 1])
  )
    return null;
  for (let close = text.indexOf(mark, open + 1); close !== -1; close = text.indexOf(mark, close + 1)) {
    const end = close + mark.length;
    if (isBlank(text[close - 1]) || text[close - 1] === letter || text[end] === letter || isWord(text[end])) continue;
    const children = inlines(text.slice(open, close), depth + 1);
    return { node: { kind: mark.length === 2 ? "strong" : "emphasis", children }, end };
  }
  missing.add(mark);
  return null;
}

const NAMED_LINK = /\[([^[\]\n]{1,500})\]\((https?:\/\/[^\s()<>]{1,2000})\)/iy;

function namedLinkAt(text: string, at: number): Span | null {
  NAMED_LINK.lastIndex = at;
  const match = NAMED_LINK.exec(text);
  const href = match === null ? null : safeHref(match[2] ?? "");
  const name = match?.[1] ?? "";
  if (match === null || href === null || name.trim() === "") return null;
  return { node: { kind: "link", href, text: name }, end: at + match[0].length };
}

const BARE_LINK = /https?:\/\/[^\s<>"`]{1,2000}/iy;

function bareLinkAt(text: string, at: number): Span | null {
  if (isWord(text[at - 1])) return null;
  BARE_LINK.lastIndex = at;
  const address = withoutTail(BARE_LINK.exec(text)?.[0] ?? "");
  const href = safeHref(address);
  return href === null ? null : { node: { kind: "link", href, text: address }, end: at + address.length };
}

/** A full stop or a closing bracket behind a link belongs to the sentence, unless the link opened the bracket. */
function withoutTail(address: string): string {
  let end = address.length;
  for (;;) {
    const last = address[end - 1] ?? "";
    const kept = address.slice(0, end);
    const closesOwn = last === ")" && kept.split("(").length >= kept.split(")").length;
    if (end === 0 || closesOwn || !/[.,:;!?'*_~)\]}]/.test(last)) return kept;
    end -= 1;
  }
}

function safeHref(address: string): string | null {
  if (!URL.canParse(address)) return null;
  const url = new URL(address);
  if (url.protocol !== "http:" && url.protocol !== "https:") return null;
  // https://bank.example@evil.example reads like the one and leads to the other.
  if (url.username !== "" || url.password !== "") return null;
  return url.href;
}

function isBlank(letter: string | undefined): boolean {
  return letter === undefined || /\s/.test(letter);
}

function isWord(letter: string | undefined): boolean {
  return letter !== undefined && /[\p{L}\p{N}]/u.test(letter);
}

/** The text without its marks, for announcements and labels. */
export function plainText(nodes: readonly Block[]): string {
  return nodes.map(blockText).join("\n");
}

function blockText(block: Block): string {
  switch (block.kind) {
    case "paragraph":
      return inlineText(block.children);
    case "code":
      return block.text;
    case "quote":
      return plainText(block.children);
    case "list":
      return block.items.map(inlineText).join("\n");
  }
}

function inlineText(nodes: readonly Inline[]): string {
  return nodes
    .map((node) => {
      if (node.kind === "break") return "\n";
      if (node.kind === "strong" || node.kind === "emphasis") return inlineText(node.children);
      return node.text;
    })
    .join("");
}
