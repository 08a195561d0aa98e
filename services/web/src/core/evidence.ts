//! What was found wrong in a room's log, for someone who can look into it. Holds envelopes, not what they say.

import { b64 } from "./base64url.ts";
import { type Room } from "./room.ts";

/** The violations of `room` as JSON text, with the envelopes that show them. Nothing in it opens them. */
export function evidence(room: Room, nowMs: number): string {
  const violations = room.log.violations.map(({ code, seq, entries, expectedHash }, index) => ({
    code,
    seq,
    noticed_at_ms: room.noticedAtMs[index],
    expected_hash: expectedHash,
    entries: entries.map((entry) => ({
      seq: entry.seq,
      at_ms: entry.atMs,
      hash: entry.hash,
      envelope: b64(entry.envelope),
    })),
  }));
  const found = {
    format: "snug/evidence-v1",
    room: room.id,
    history: room.log.history,
    device: room.me,
    exported_at_ms: nowMs,
    violations,
  };
  return JSON.stringify(found, null, 2) + "\n";
}
