/** Where a popup goes. Pure. */

/** A rectangle in CSS pixels from the upper left corner of the window. A point is one without extent. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

const EDGE_PX = 8;
const GAP_PX = 4;

/** Below what it belongs to, else above; always wholly inside the window, as far as it fits. */
export function place(popup: Size, anchor: Box, window: Size): { readonly left: number; readonly top: number } {
  const lowest = window.height - popup.height - EDGE_PX;
  const below = anchor.bottom + GAP_PX;
  const above = anchor.top - popup.height - GAP_PX;
  const top = below <= lowest || above < EDGE_PX ? below : above;
  // At the outer side of a bubble on the right, and of one on the left.
  const onRight = anchor.left + anchor.right > window.width && anchor.right > anchor.left;
  const left = onRight ? anchor.right - popup.width : anchor.left;
  return {
    left: Math.max(EDGE_PX, Math.min(left, window.width - popup.width - EDGE_PX)),
    top: Math.max(EDGE_PX, Math.min(top, lowest)),
  };
}
