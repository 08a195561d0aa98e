//! What was said about messages after they were written: edits, deletions, reactions and pins, by the message they are about.
//! Pure, and idempotent by place: it does not matter in which order they come or how often.

import { type LogEntry } from "./log-entry.ts";

/** Everything noted about one message. Whether it counts is decided when the message itself is known. */
export interface Changes {
  /** Each device's newest edit. */
  readonly edits: ReadonlyMap<string, LogEntry>;
  /** All, by their place: one that does not count must not hide a later one that does. */
  readonly deletions: ReadonlyMap<number, LogEntry>;
  /** The newest reaction of each (device, emoji), the ones taken back included. */
  readonly reactions: ReadonlyMap<string, LogEntry>;
  readonly pin: LogEntry | undefined;
}

interface Noted extends Changes {
  readonly edits: Map<string, LogEntry>;
  readonly deletions: Map<number, LogEntry>;
  readonly reactions: Map<string, LogEntry>;
  pin: LogEntry | undefined;
}

export class RoomChanges {
  #about = new Map<number, Noted>();

  /** Takes an entry of any kind; what is not about a message changes nothing. */
  note(entry: LogEntry): void {
    const { content, header, seq } = entry;
    if (header === undefined || header.targetSeq < 1 || header.targetSeq >= seq) return;
    const { device, targetSeq } = header;
    switch (content.kind) {
      case "edit":
        keepNewest(this.#noted(targetSeq).edits, device, entry);
        break;
      case "deletion":
        this.#noted(targetSeq).deletions.set(seq, entry);
        break;
      case "reaction":
        keepNewest(this.#noted(targetSeq).reactions, `${device} ${content.emoji}`, entry);
        break;
      case "pin": {
        const noted = this.#noted(targetSeq);
        if ((noted.pin?.seq ?? 0) < seq) noted.pin = entry;
        break;
      }
      default:
        break;
    }
  }

  /** What was noted about the message at `seq`. */
  about(seq: number): Changes | undefined {
    return this.#about.get(seq);
  }

  /** Messages whose newest pin stands, the one pinned last first. */
  pinned(): number[] {
    const pins: [target: number, at: number][] = [];
    for (const [target, { pin }] of this.#about) {
      if (pin?.content.kind === "pin" && pin.content.on) pins.push([target, pin.seq]);
    }
    return pins.sort(([, a], [, b]) => b - a).map(([target]) => target);
  }

  /** Forgets all, as when the log they came from turned out to be another one. */
  clear(): void {
    this.#about.clear();
  }

  #noted(target: number): Noted {
    let noted = this.#about.get(target);
    if (noted === undefined) {
      noted = { edits: new Map(), deletions: new Map(), reactions: new Map(), pin: undefined };
      this.#about.set(target, noted);
    }
    return noted;
  }
}

function keepNewest(entries: Map<string, LogEntry>, key: string, entry: LogEntry): void {
  if ((entries.get(key)?.seq ?? 0) < entry.seq) entries.set(key, entry);
}
