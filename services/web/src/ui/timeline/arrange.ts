/**
 * From the entries of a log to the rows of a timeline: days are separated, an author's consecutive messages form a group, a crowd
 * that comes and goes takes one line, and a divider stands where reading stopped last time. Pure, so that it is tested without a page.
 */

import type {
  AdminEntry,
  DeletedEntry,
  Entry,
  HoleEntry,
  LostEntry,
  MessageEntry,
  NoticeEntry,
  UnreadableEntry,
} from "../../view.ts";

export type Row =
  | { readonly kind: "beginning"; readonly key: string }
  | { readonly kind: "day"; readonly key: string; readonly atMs: number }
  | { readonly kind: "unread"; readonly key: string }
  | { readonly kind: "notices"; readonly key: string; readonly notices: readonly (NoticeEntry | AdminEntry)[] }
  /** Consecutive messages that were deleted in the same way. */
  | { readonly kind: "deleted"; readonly key: string; readonly entries: readonly DeletedEntry[] }
  | {
      readonly kind: "message";
      readonly key: string;
      readonly message: MessageEntry;
      /** The first of a group carries the name; the last carries the corner of the bubble. */
      readonly first: boolean;
      readonly last: boolean;
    }
  | { readonly kind: "unreadable"; readonly key: string; readonly entry: UnreadableEntry }
  | { readonly kind: "hole"; readonly key: string; readonly entry: HoleEntry }
  | { readonly kind: "lost"; readonly key: string; readonly entry: LostEntry };

/** Longer pauses than this end a group, since the name and time help to read on. */
export const GROUP_GAP_MS = 5 * 60_000;

export interface ArrangeInput {
  readonly entries: readonly Entry[];
  readonly complete: boolean;
  readonly unreadAfterSeq: number | null;
}

export function arrange({ entries, complete, unreadAfterSeq }: ArrangeInput): readonly Row[] {
  const rows: Row[] = complete ? [{ kind: "beginning", key: "beginning" }] : [];
  let day = "";
  let divided = unreadAfterSeq === null;
  for (const [index, entry] of entries.entries()) {
    if (entry.kind === "hole") {
      rows.push({ kind: "hole", key: entry.key, entry });
      // After a hole the day is said again: what is missing may be of any day.
      day = "";
      continue;
    }
    const entryDay = dayOf(entry.atMs);
    // The entry's key makes the row's key unique when clocks make a day appear twice.
    if (entryDay !== day) rows.push({ kind: "day", key: `day ${entry.key}`, atMs: entry.atMs });
    day = entryDay;
    if (!divided && startsUnread(entry, unreadAfterSeq ?? 0)) {
      divided = true;
      rows.push({ kind: "unread", key: "unread" });
    }
    addEntry(rows, entry, entries[index + 1]);
  }
  return rows;
}

/** Own messages and notices are nothing to catch up with. */
function startsUnread(entry: Entry, afterSeq: number): boolean {
  if (entry.kind === "message") return !entry.mine && entry.seq !== null && entry.seq > afterSeq;
  return entry.kind === "unreadable" && entry.seq > afterSeq;
}

function addEntry(rows: Row[], entry: Exclude<Entry, HoleEntry>, next: Entry | undefined): void {
  const before = rows.at(-1);
  switch (entry.kind) {
    case "message": {
      const first = !(before?.kind === "message" && joins(before.message, entry));
      const last = !(next?.kind === "message" && joins(entry, next));
      rows.push({ kind: "message", key: entry.key, message: entry, first, last });
      break;
    }
    case "deleted":
      if (before?.kind === "deleted" && deletedAlike(before.entries[0], entry)) {
        rows[rows.length - 1] = { ...before, entries: [...before.entries, entry] };
      } else rows.push({ kind: "deleted", key: entry.key, entries: [entry] });
      break;
    case "notice":
    case "admin":
      if (before?.kind === "notices") rows[rows.length - 1] = { ...before, notices: [...before.notices, entry] };
      else rows.push({ kind: "notices", key: entry.key, notices: [entry] });
      break;
    case "unreadable":
      rows.push({ kind: "unreadable", key: entry.key, entry });
      break;
    case "lost":
      rows.push({ kind: "lost", key: entry.key, entry });
      break;
  }
}

function joins(earlier: MessageEntry, later: MessageEntry): boolean {
  return (
    earlier.author === later.author &&
    earlier.authorName === later.authorName &&
    Math.abs(later.atMs - earlier.atMs) < GROUP_GAP_MS &&
    dayOf(earlier.atMs) === dayOf(later.atMs)
  );
}

function deletedAlike(earlier: DeletedEntry | undefined, later: DeletedEntry): boolean {
  return (
    earlier !== undefined &&
    earlier.author === later.author &&
    earlier.authorName === later.authorName &&
    earlier.by === later.by &&
    earlier.byName === later.byName
  );
}

function dayOf(atMs: number): string {
  return new Date(atMs).toDateString();
}

/** What a run of notices comes to: who came and went again within it is one coming-and-going, not two lines. */
export interface NoticeSummary {
  readonly joined: readonly string[];
  readonly left: readonly string[];
  /** Joined and left (or the other way round) within the run. */
  readonly passed: readonly string[];
  readonly renamed: readonly { readonly from: string; readonly to: string }[];
}

export function summarise(notices: readonly NoticeEntry[]): NoticeSummary {
  const moves = new Map<string, { name: string; joined: boolean; left: boolean }>();
  const names = new Map<string, { from: string; to: string }>();
  for (const notice of notices) {
    const name = notice.fingerprint === null ? notice.authorName : `${notice.authorName} (${notice.fingerprint})`;
    if (notice.what === "renamed") {
      const from = names.get(notice.author)?.from ?? notice.previousName ?? name;
      names.set(notice.author, { from, to: name });
    } else {
      const move = moves.get(notice.author) ?? { name, joined: false, left: false };
      move.name = name;
      move[notice.what] = true;
      moves.set(notice.author, move);
    }
  }
  const all = [...moves.values()];
  return {
    joined: all.filter((move) => move.joined && !move.left).map((move) => move.name),
    left: all.filter((move) => move.left && !move.joined).map((move) => move.name),
    passed: all.filter((move) => move.joined && move.left).map((move) => move.name),
    renamed: [...names.values()].filter(({ from, to }) => from !== to),
  };
}

export type NoticeLine =
  { readonly kind: "people"; readonly summary: NoticeSummary } | { readonly kind: "step"; readonly step: AdminEntry };

/** What a run of notices says, line by line: comings and goings between two administrative steps are summed up, each step is told. */
export function noticeLines(notices: readonly (NoticeEntry | AdminEntry)[]): readonly NoticeLine[] {
  const lines: NoticeLine[] = [];
  let run: NoticeEntry[] = [];
  const endRun = () => {
    if (run.length > 0) lines.push({ kind: "people", summary: summarise(run) });
    run = [];
  };
  for (const notice of notices) {
    if (notice.kind === "notice") {
      run.push(notice);
      continue;
    }
    endRun();
    lines.push({ kind: "step", step: notice });
  }
  endRun();
  return lines;
}
