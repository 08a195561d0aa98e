/** What a screen reader says without being asked: one polite region for the whole page, apart from what is drawn. */

/** Calls closer than this are said together: a busy room must not queue up minutes of speech. */
const GATHER_MS = 700;
const SAID_TOGETHER_MAX = 3;

export class Announcer {
  text = $state("");
  #waiting: string[] = [];

  say(sentence: string): void {
    this.#waiting.push(sentence);
    if (this.#waiting.length > 1) return;
    setTimeout(() => {
      this.text = this.#waiting.slice(-SAID_TOGETHER_MAX).join("\n");
      this.#waiting = [];
    }, GATHER_MS);
  }
}

export const announcer = new Announcer();
