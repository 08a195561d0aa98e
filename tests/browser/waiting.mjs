// The tests' one way to wait: for a condition, under a deadline.

/** How long anything may take before a test fails. Long: two cores hash passwords for several people at once. */
export const PATIENCE_MS = 60_000;

/** Waits until `look` returns something truthy. */
export async function eventually(what, look) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`did not happen in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
