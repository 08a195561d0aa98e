//! The page's one Trusted Types policy. It lets a worker start from this origin's own files and nothing else.

interface Policy {
  createScriptURL(url: string): unknown;
}

interface Policies {
  createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): Policy;
}

let policy: Policy | undefined;

/** `url` as the browser wants it where scripts are loaded from. Throws when it leads to another origin. */
export function scriptUrl(url: string): URL | string {
  const policies = (globalThis as { trustedTypes?: Policies }).trustedTypes;
  if (policies === undefined) return checked(url);
  policy ??= policies.createPolicy("snug", { createScriptURL: checked });
  // The DOM types know only strings and URLs here; a browser that enforces Trusted Types takes nothing but this.
  return policy.createScriptURL(url) as string;
}

function checked(url: string): string {
  const absolute = new URL(url, location.href);
  if (absolute.origin !== location.origin) throw new TypeError("a script from another origin");
  return absolute.href;
}
