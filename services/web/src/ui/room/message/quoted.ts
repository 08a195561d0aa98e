/** What a quote shows of a message. Pure. */

import type { QuoteView } from "../../../view.ts";
import { parse, plainText } from "../../markdown/parse.ts";
import { strings } from "../../strings.ts";

/** A quote is two lines at most, so more than this is never seen and need not be read. */
const SHOWN_MAX = 400;

/** One line without marks. */
export function excerpt(text: string): string {
  return plainText(parse(text.slice(0, SHOWN_MAX)))
    .replaceAll(/\s+/g, " ")
    .trim();
}

/** What stands in a quote; for what is not there any more, why. */
export function quoteText(quote: QuoteView): string {
  switch (quote.state) {
    case "here":
      return excerpt(quote.text);
    case "deleted":
      return strings.timeline.quoteDeleted(quote.authorName);
    case "loading":
      return strings.timeline.quoteLoading;
    case "unavailable":
      return strings.timeline.quoteUnavailable;
  }
}
