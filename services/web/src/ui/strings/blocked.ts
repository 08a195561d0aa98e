/** Why the page cannot work here. */

export const blocked = {
  starting: "Opening Snug…",
  unsupported_browser: {
    heading: "This browser is too old for Snug",
    body: (browsers: string) =>
      `Messages are sealed in your browser, and this one lacks what that takes. These have it, and newer ones: ${browsers}.`,
    detail: "Missing here:",
    feature: (name: string, since: string) => `${name}: in ${since} and newer`,
  },
  needs_https: {
    heading: "Snug needs https here",
    body: "Browsers offer encryption only on pages that come over https, or from this very machine. Without it Snug could not keep its promise, so it does not start.",
    hint: "Open the same address with https:// in front. If you host this server: give it a certificate with SNUG_TLS_CERT and SNUG_TLS_KEY, or put it behind a proxy that has one, and set SNUG_PUBLIC_URL.",
    open: "Open with https",
  },
  storage_unavailable: {
    heading: "Snug cannot keep anything here",
    body: "Your keys have to stay in this browser, and it does not let this page store them. That is how private windows of some browsers work, or a setting that blocks site data.",
    hint: "Open Snug in a normal window, or allow site data for this address, then try again.",
  },
  server_unreachable: {
    heading: "The server does not answer",
    body: "Either you are offline or the server is. Nothing of yours is lost.",
  },
  wrong_host: {
    heading: "This is not the server's address",
    body: (host: string) => `The server does not go by the name “${host}”. Use the address you were given.`,
    hint: "If you host it: set SNUG_PUBLIC_URL to the address people use.",
  },
} as const;
