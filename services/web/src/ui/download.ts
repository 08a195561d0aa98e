import type { SavedFile } from "../view.ts";

/** Hands a file to the browser's own download. It is made in the page and goes to no server. */
export function download(file: SavedFile): void {
  const url = URL.createObjectURL(new Blob([file.text], { type: file.type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = file.name.replace(/[/\\:*?"<>|]/g, "_");
  link.click();
  // The download has begun once the click is handled, but some browsers read the blob a moment later.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
