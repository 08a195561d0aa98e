//! Room passwords: how strong one is, and a good one to suggest. The dictionaries are loaded when they are first needed.

import { PASSWORD_CHARS_MAX } from "../protocol.gen.ts";
import { codePoints } from "./names.ts";

export type PasswordAdvice = "too_short" | "too_long" | "common" | "guessable" | "repeats" | "contains_name";

export interface PasswordRating {
  /** 0 (guessed at once) to 4. */
  readonly score: 0 | 1 | 2 | 3 | 4;
  /** Whether a room may be created with it. */
  readonly accepted: boolean;
  readonly advice: PasswordAdvice | null;
}

/** The least score a room is created with: above 10^8 guesses, each of which costs Argon2id's 64 MiB. */
const SCORE_MIN = 3;
const CHARS_MIN = 10;
/** zxcvbn's cost grows with the square of the length; what lies beyond adds strength that is not counted. */
const CHARS_RATED = 100;
const PASSPHRASE_WORDS = 6;

type Estimate = (password: string, inputs: string[]) => { score: 0 | 1 | 2 | 3 | 4; patterns: string[] };

let loading: Promise<Estimate> | undefined;

async function loadEstimate(): Promise<Estimate> {
  const [{ ZxcvbnFactory }, common, { default: words }, { default: firstNames }] = await Promise.all([
    import("@zxcvbn-ts/core"),
    import("@zxcvbn-ts/language-common"),
    // Without last names and the words of Wikipedia, which would double the 0.45 MB to be loaded here.
    import("@zxcvbn-ts/language-en/dist/commonWords.json.mjs"),
    import("@zxcvbn-ts/language-en/dist/firstnames.json.mjs"),
  ]);
  const zxcvbn = new ZxcvbnFactory({
    dictionary: { ...common.dictionary, "commonWords-en": words, "firstnames-en": firstNames },
    graphs: common.adjacencyGraphs,
  });
  return (password, inputs) => {
    const { score, sequence } = zxcvbn.check(password, inputs);
    const patterns = sequence.map((match) =>
      match.pattern === "dictionary" && "dictionaryName" in match ? String(match.dictionaryName) : match.pattern,
    );
    return { score: score as 0 | 1 | 2 | 3 | 4, patterns };
  };
}

/**
 * Rates `password`; `names` are the room's and the member's, which an attacker would try first.
 * Rejects only when the dictionaries cannot be loaded.
 */
export async function ratePassword(password: string, names: readonly string[]): Promise<PasswordRating> {
  const text = password.normalize("NFC");
  if (codePoints(text) > PASSWORD_CHARS_MAX) return { score: 0, accepted: false, advice: "too_long" };
  loading ??= loadEstimate().catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  const estimate = await loading;
  const inputs = names.map((name) => name.trim()).filter((name) => name.length > 2);
  const { score, patterns } = estimate([...text].slice(0, CHARS_RATED).join(""), inputs);
  const short = codePoints(text) < CHARS_MIN;
  if (score >= SCORE_MIN && !short) return { score, accepted: true, advice: null };
  return { score, accepted: false, advice: advise(patterns, short && score >= 2) };
}

function advise(patterns: readonly string[], short: boolean): PasswordAdvice {
  if (short || patterns.length === 0) return "too_short";
  if (patterns.includes("userInputs")) return "contains_name";
  if (patterns.some((pattern) => pattern.startsWith("passwords"))) return "common";
  if (patterns.includes("repeat") || patterns.includes("sequence")) return "repeats";
  return patterns.every((pattern) => pattern === "bruteforce") ? "too_short" : "guessable";
}

/** Six words of the EFF's large list joined by hyphens: 77 bits, made in this page. Rejects when the list cannot load. */
export async function suggestPassphrase(): Promise<string> {
  const { DEFAULT_WORDLIST } = await import("secure-password-utilities/wordlists");
  const words: string[] = [];
  while (words.length < PASSPHRASE_WORDS) words.push(DEFAULT_WORDLIST[below(DEFAULT_WORDLIST.length)] ?? "");
  return words.join("-");
}

/** A random whole number below `limit`, each as likely as the other. */
function below(limit: number): number {
  const fair = 2 ** 32 - (2 ** 32 % limit);
  for (;;) {
    const [value = fair] = crypto.getRandomValues(new Uint32Array(1));
    if (value < fair) return value % limit;
  }
}
