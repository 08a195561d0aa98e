import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { b64 } from "./base64url.ts";
import { concat, u32, utf8, zeros } from "./bytes.ts";
import { EntryType } from "./crypto/envelope.ts";
import { type LogEntry } from "./log-entry.ts";
import { RoomLog } from "./room-log.ts";

const HISTORY = b64(zeros(16));
const NOWHERE = { seq: 0, hash: b64(zeros(32)) };
const name = (label: string) => b64(concat(utf8(label.padEnd(28, ".")), u32(label.length)));

interface Sent {
  /** Who sends. */
  sender: number;
  /** Whether a new instance begins. */
  fresh: boolean;
  /** How many entries the sender had not seen yet. */
  lag: number;
}

/** A log that honest clients wrote through an honest server. */
function written(sends: readonly Sent[]): LogEntry[] {
  const log: LogEntry[] = [];
  const counters = new Map<number, { instance: number; counter: number }>();
  for (const [index, { sender, fresh, lag }] of sends.entries()) {
    const seq = index + 1;
    const before = counters.get(sender);
    const stream =
      before === undefined || fresh
        ? { instance: (before?.instance ?? 0) + 1, counter: 0 }
        : { instance: before.instance, counter: before.counter + 1 };
    counters.set(sender, stream);
    const seen = log[Math.max(0, index - 1 - lag)];
    log.push({
      seq,
      hash: name(`entry ${seq}`),
      atMs: seq,
      envelope: utf8(`envelope ${seq}`),
      header: {
        type: EntryType.message,
        epoch: 0,
        device: `d${sender}`,
        instance: `d${sender}i${stream.instance}`,
        counter: stream.counter,
        targetSeq: 0,
      },
      prev: seen === undefined ? NOWHERE : { seq: seen.seq, hash: seen.hash },
      content: { kind: "message", text: `text ${seq}`, mentions: [] },
    });
  }
  return log;
}

const sent = fc.record({ sender: fc.nat(3), fresh: fc.nat(9).map((n) => n === 0), lag: fc.nat(2) });
const logs = fc.array(sent, { minLength: 4, maxLength: 40 }).map(written);
const follow = (log: RoomLog, head: number, from: number, skipped = false) =>
  log.followed({ history: HISTORY, head, from, skipped }, log.cursor);

/** Live from `from` on, then older pages of `size` until the beginning. */
function load(entries: readonly LogEntry[], from: number, size: number): RoomLog {
  const log = new RoomLog();
  follow(log, entries.length, from);
  for (const entry of entries.slice(from - 1)) log.append(entry);
  for (let before = from; before > 1; before = Math.max(1, before - size)) {
    log.insert(entries.slice(Math.max(0, before - 1 - size), before - 1));
  }
  return log;
}

const seqs = (log: RoomLog) => log.runs.flatMap(({ entries }) => entries.map(({ seq }) => seq));
const codes = (log: RoomLog) => log.violations.map(({ code }) => code);

describe("a valid log", () => {
  it("is the same in any chunking, and nothing is found in it", () => {
    fc.assert(
      fc.property(logs, fc.nat(), fc.integer({ min: 1, max: 9 }), (entries, start, size) => {
        const log = load(entries, 1 + (start % entries.length), size);
        expect(codes(log)).toEqual([]);
        expect(log.runs.length).toBe(1);
        expect(log.complete && log.caughtUp).toBe(true);
        expect(seqs(log)).toEqual(entries.map(({ seq }) => seq));
      }),
    );
  });

  it("is the same in any order of pieces, with any of them twice", () => {
    fc.assert(
      fc.property(logs, fc.infiniteStream(fc.nat()), (entries, random) => {
        const below = (limit: number) => (random.next().value ?? 0) % limit;
        const pieces: LogEntry[][] = [];
        for (let at = 0; at < entries.length;) {
          const size = 1 + below(5);
          pieces.push(entries.slice(at, at + size));
          at += size;
        }
        const log = new RoomLog();
        follow(log, entries.length, entries.length + 1);
        const order = pieces.concat(pieces.filter(() => below(3) === 0));
        for (let i = order.length - 1; i > 0; i--) {
          const j = below(i + 1);
          [order[i], order[j]] = [order[j] ?? [], order[i] ?? []];
        }
        for (const piece of order) log.insert(piece);
        expect(codes(log)).toEqual([]);
        expect(seqs(log)).toEqual(entries.map(({ seq }) => seq));
      }),
    );
  });

  it("shows holes where nothing is loaded, and closes them", () => {
    const entries = written(Array.from({ length: 20 }, () => ({ sender: 0, fresh: false, lag: 0 })));
    const log = new RoomLog();
    follow(log, 5, 1);
    for (const entry of entries.slice(0, 5)) log.append(entry);
    log.followed({ history: HISTORY, head: 20, from: 16, skipped: true }, log.cursor);
    expect(log.holes).toEqual([{ from: 6, to: 15 }]);
    expect(log.newest).toBeUndefined();
    for (const entry of entries.slice(15)) log.append(entry);
    expect([log.newest?.seq, log.caughtUp, log.holes]).toEqual([20, true, [{ from: 6, to: 15 }]]);
    log.insert(entries.slice(9, 15));
    expect(log.holes).toEqual([{ from: 6, to: 9 }]);
    log.insert(entries.slice(3, 9));
    expect([log.holes, codes(log)]).toEqual([[], []]);
  });
});

describe("in a loaded range the server cannot", () => {
  /** The server's version of `entries`, with seqs given anew. */
  const renumbered = (entries: readonly LogEntry[]) => entries.map((entry, index) => ({ ...entry, seq: index + 1 }));
  /** Everybody has seen everything, so that every entry but the last is vouched for by the next one. */
  const attentive = fc
    .array(
      sent.map((s) => ({ ...s, lag: 0 })),
      { minLength: 4, maxLength: 40 },
    )
    .map(written);
  const anywhere = fc.tuple(attentive, fc.nat(), fc.nat(), fc.integer({ min: 1, max: 9 }));
  const found = (entries: readonly LogEntry[], start: number, size: number) =>
    expect(load(entries, 1 + (start % entries.length), size).violations).not.toEqual([]);

  it("drop an entry", () => {
    fc.assert(
      fc.property(anywhere, ([entries, which, start, size]) => {
        const at = which % (entries.length - 1);
        found(renumbered(entries.filter((_, index) => index !== at)), start, size);
      }),
    );
  });

  it("drop an entry without hiding the gap", () => {
    fc.assert(
      fc.property(attentive, fc.nat(), (entries, which) => {
        const at = 1 + (which % (entries.length - 2));
        const log = new RoomLog();
        follow(log, entries.length, 1);
        for (const entry of entries) if (entry.seq !== at + 1) log.append(entry);
        expect(codes(log)).toContain("fork");
      }),
    );
  });

  it("repeat an entry", () => {
    fc.assert(
      fc.property(anywhere, ([entries, which, start, size]) => {
        const at = which % entries.length;
        const to = at + (start % (entries.length - at));
        found(renumbered(entries.toSpliced(to + 1, 0, ...entries.slice(at, at + 1))), start, size);
      }),
    );
  });

  it("swap two entries", () => {
    fc.assert(
      fc.property(anywhere, ([entries, which, start, size]) => {
        const at = which % (entries.length - 1);
        const swapped = [...entries.slice(0, at), ...entries.slice(at, at + 2).reverse(), ...entries.slice(at + 2)];
        found(renumbered(swapped), start, size);
      }),
    );
  });

  it("put an entry in another's place", () => {
    fc.assert(
      fc.property(anywhere, ([entries, which, start, size]) => {
        const at = which % (entries.length - 1);
        const other = entries[(at + 1 + (start % (entries.length - 1))) % entries.length];
        found(renumbered(entries.toSpliced(at, 1, ...(other === undefined ? [] : [other]))), start, size);
      }),
    );
  });

  it("put unreadable bytes in an entry's place", () => {
    fc.assert(
      fc.property(anywhere, ([entries, which, start, size]) => {
        const at = which % (entries.length - 1);
        const junk = entries.map((entry, index) =>
          index === at
            ? {
                seq: entry.seq,
                hash: name("junk"),
                atMs: 1,
                envelope: utf8("junk"),
                content: { kind: "unreadable" } as const,
              }
            : entry,
        );
        found(junk, start, size);
      }),
    );
  });

  it("show two entries at one seq", () => {
    const entries = written(Array.from({ length: 5 }, () => ({ sender: 0, fresh: false, lag: 0 })));
    const log = load(entries, 1, 3);
    log.append({ ...(entries[3] as LogEntry), hash: name("other") });
    expect(log.violations).toMatchObject([{ code: "fork", seq: 4 }]);
    log.insert(entries);
    expect(log.violations.length).toBe(1);
  });
});

describe("an acknowledged message", () => {
  const entries = written(Array.from({ length: 6 }, (_, index) => ({ sender: index, fresh: false, lag: 0 })));

  it("is fine where the server said, in either order of acknowledgement and delivery", () => {
    const log = load(entries.slice(0, 4), 1, 3);
    log.acknowledge(5, name("entry 5"));
    log.append(entries[4] as LogEntry);
    log.append(entries[5] as LogEntry);
    log.acknowledge(6, name("entry 6"));
    log.following();
    follow(log, 6, 7);
    expect(log.violations).toEqual([]);
  });

  it("is missed when another stands there", () => {
    const log = load(entries.slice(0, 4), 1, 3);
    log.acknowledge(5, name("mine"));
    log.append(entries[4] as LogEntry);
    log.acknowledge(4, name("mine too"));
    expect(log.violations).toMatchObject([
      { code: "substituted", seq: 5, expectedHash: name("mine") },
      { code: "substituted", seq: 4 },
    ]);
  });

  it("is missed when the server's head is below it later", () => {
    const log = load(entries.slice(0, 4), 1, 3);
    log.acknowledge(5, name("mine"));
    log.following();
    follow(log, 4, 5);
    expect(log.violations).toMatchObject([{ code: "dropped", seq: 5 }]);
  });

  it("is the caller's to look for after a resync", () => {
    const log = load(entries, 1, 3);
    const answer = { history: HISTORY, head: 3, from: 1, skipped: false, resync: "beyond_head" } as const;
    expect(log.followed(answer, log.cursor)?.reset.length).toBe(6);
    for (const entry of entries.slice(0, 3)) log.append(entry);
    expect([log.violations, seqs(log), log.caughtUp]).toEqual([[], [1, 2, 3], true]);
  });
});

it("a head below the cursor without a resync is a fork", () => {
  const entries = written(Array.from({ length: 4 }, () => ({ sender: 0, fresh: false, lag: 0 })));
  const log = load(entries, 1, 3);
  follow(log, 2, 3);
  expect(log.violations).toMatchObject([{ code: "fork", seq: 4 }]);
});

it("what was there at an earlier visit must still be there", () => {
  const entries = written(Array.from({ length: 6 }, () => ({ sender: 0, fresh: false, lag: 0 })));
  const cursor = load(entries, 1, 3).cursor;
  if (cursor === undefined) throw new Error("no cursor");
  const visit = (head: number, kept: typeof cursor) => {
    const log = new RoomLog();
    log.remember(kept);
    follow(log, head, 1);
    for (const entry of entries.slice(0, head)) log.append(entry);
    return codes(log);
  };
  expect(visit(6, cursor)).toEqual([]);
  expect(visit(5, cursor)).toEqual(["fork"]);
  expect(visit(6, { ...cursor, hash: b64(zeros(8)) })).toEqual(["fork"]);
  expect(visit(5, { ...cursor, history: b64(concat(u32(1), zeros(12))) })).toEqual([]);
});

describe("the epoch", () => {
  const plain = written(Array.from({ length: 8 }, (_, index) => ({ sender: index, fresh: false, lag: 0 })));
  const record = { kind: "epoch_record" } as LogEntry["content"];
  const unreadable = { kind: "unreadable" } as const;
  /** The log with these epochs; a capital R is a record, a ? cannot be read. */
  const under = (epochs: string) =>
    plain.map((entry, index): LogEntry => {
      const mark = epochs.split(" ")[index] ?? "0";
      const header = { ...entry.header, epoch: Number.parseInt(mark, 10) } as NonNullable<LogEntry["header"]>;
      if (mark.includes("?")) {
        const type = mark.includes("R") ? EntryType.epochRecord : EntryType.message;
        const { prev: _prev, ...unread } = entry;
        return { ...unread, header: { ...header, type }, content: unreadable };
      }
      return { ...entry, header, content: mark.includes("R") ? record : entry.content };
    });
  const anyLoad = (epochs: string) => {
    const entries = under(epochs);
    const found = new Set<string>();
    for (let start = 1; start <= 8; start++) {
      for (const size of [1, 2, 3, 8]) {
        found.add(
          load(entries, start, size)
            .violations.map(({ code, seq }) => `${code} ${seq}`)
            .join(),
        );
      }
    }
    return [...found];
  };

  it("goes up with records and nothing else, however the log is loaded", () => {
    expect(anyLoad("0R 0 0 1R 1 2R 3R 3")).toEqual([""]);
    expect(anyLoad("0R 0 0 0? 0? 0 1R 1")).toEqual([""]);
  });

  it("cannot go back, go up without a record, or leave one out", () => {
    expect(anyLoad("0R 0 1R 1 0 0 0 0")).toEqual(["epoch 5"]);
    expect(anyLoad("0R 0 0 1 1 1 1 1")).toEqual(["epoch 4"]);
    expect(anyLoad("0R 0 0 2R 2 2 2 2")).toEqual(["epoch 4"]);
    expect(anyLoad("0R 0 0 0R 0 0 0 0")).toEqual(["epoch 4"]);
  });

  it("may go up where a record could not be read, and not back there", () => {
    expect(anyLoad("0? 0? 0? 1R 1 1 1 1")).toEqual([""]);
    expect(anyLoad("0R 0 1R? 1? 1 1 1 1")).toEqual([""]);
    expect(anyLoad("0R 1R 1 1R? 0 0 0 0")).toEqual(["epoch 5"]);
  });
});

describe("the header of an unreadable entry", () => {
  const spoken = (counters: readonly string[]) =>
    counters.map((mark, index): LogEntry => {
      const header = {
        type: 3,
        epoch: 0,
        device: "d",
        instance: "i",
        counter: Number.parseInt(mark, 10),
        targetSeq: 0,
      };
      const plain = { seq: index + 1, hash: name(`e${index}`), atMs: 1, envelope: utf8(""), header };
      return { ...plain, content: mark.includes("?") ? { kind: "unreadable" } : { kind: "deletion" } };
    });
  const anyLoad = (...counters: string[]) => {
    const entries = spoken(counters);
    const found = new Set<string>();
    for (let start = 1; start <= entries.length; start++) {
      for (const size of [1, 2, 9])
        found.add(
          load(entries, start, size)
            .violations.map(({ seq }) => seq)
            .join(),
        );
    }
    return [...found];
  };

  it("counts where it is the next one", () => expect(anyLoad("0", "1?", "2?", "3")).toEqual([""]));

  it("is passed over where it is not", () => {
    expect(anyLoad("0", "7?", "1", "0?", "2")).toEqual([""]);
    expect(anyLoad("4?", "0", "1")).toEqual([""]);
  });

  it("does not hide a hole", () => expect(anyLoad("0", "7?", "3")).toEqual(["3"]));
});
