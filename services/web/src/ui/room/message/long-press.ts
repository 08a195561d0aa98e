/** A finger that rests on something. Mice and pens have a second button for what this is for. */

import type { Attachment } from "svelte/attachments";

export const LONG_PRESS_MS = 450;
/** A finger is never quite still. */
const SLACK_PX = 10;

export function longPress(onpress: (x: number, y: number) => void): Attachment<HTMLElement> {
  return (element) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let from = { x: 0, y: 0 };
    const end = () => clearTimeout(timer);

    function begin(event: PointerEvent) {
      end();
      // A second finger is a gesture of its own; links and buttons have a meaning of their own.
      if (event.pointerType !== "touch" || !event.isPrimary) return;
      if (event.target instanceof Element && event.target.closest("a, button") !== null) return;
      from = { x: event.clientX, y: event.clientY };
      timer = setTimeout(() => onpress(from.x, from.y), LONG_PRESS_MS);
    }

    function move(event: PointerEvent) {
      if (Math.hypot(event.clientX - from.x, event.clientY - from.y) > SLACK_PX) end();
    }

    const heard = [
      ["pointerdown", begin],
      ["pointermove", move],
      ["pointerup", end],
      ["pointercancel", end],
      ["pointerleave", end],
    ] as const;
    for (const [name, listener] of heard) element.addEventListener(name, listener as EventListener);
    return () => {
      end();
      for (const [name, listener] of heard) element.removeEventListener(name, listener as EventListener);
    };
  };
}
