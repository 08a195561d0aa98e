/** What a screen reader says without being asked: one polite region for the whole page, apart from what is drawn. */

/** Calls closer than this are said together: a busy room must not queue up minutes of speech. */
const GATHER_MS = 700;
const SAID_TOGETHER_MAX = 3;
/** Then the region is emptied again, so that nobody who reads through the page finds an old sentence in it. */
const STANDS_MS = 5000;

export class Announcer {
  text = $state("");
  #waiting: string[] = [];

  say(sentence: string): void {
    this.#waiting.push(sentence);
    if (this.#waiting.length > 1) return;
    setTimeout(() => {
      const text = this.#waiting.slice(-SAID_TOGETHER_MAX).join("\n");
      this.#waiting = [];
      this.text = text;
      setTimeout(() => {
        if (this.text === text) this.text = "";
      }, STANDS_MS);
    }, GATHER_MS);
  }
}

export const announcer = new Announcer();
