/**
 * Keeps what is visible visible while a keyboard is on the screen. Some phones shrink the page for it, others lay it over the page
 * and only tell the visual viewport; a room then follows that one.
 */
export function followViewport(): void {
  const viewport = window.visualViewport;
  if (viewport === null) return;
  const root = document.documentElement;
  const follow = () => {
    // Zoomed in by two fingers, the viewport is a part of the page one looks at, and nothing should move.
    const covered = viewport.scale === 1 && viewport.height < window.innerHeight - 1;
    if (covered) {
      root.style.setProperty("--viewport-height", `${viewport.height}px`);
      root.style.setProperty("--viewport-top", `${viewport.offsetTop}px`);
    } else {
      root.style.removeProperty("--viewport-height");
      root.style.removeProperty("--viewport-top");
    }
  };
  viewport.addEventListener("resize", follow);
  viewport.addEventListener("scroll", follow);
}
