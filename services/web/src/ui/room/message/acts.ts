/** What rows ask of the timeline they stand in. */

import type { MessageEntry } from "../../../view.ts";
import type { Box } from "./place.ts";

/** `menu`: everything that can be done. `react`: emoji alone. */
export type PopupMode = "menu" | "react";

export interface Acts {
  /** Opens what can be done with a message, next to `at`. */
  open(message: MessageEntry, at: Box, mode: PopupMode): void;
  reply(message: MessageEntry): void;
  /** Adds my reaction, or takes it back where it is mine already. */
  react(message: MessageEntry, emoji: string): void;
  /** Scrolls to a message, loading it where that is necessary. */
  show(seq: number): void;
}
