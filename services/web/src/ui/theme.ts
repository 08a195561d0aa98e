/** Light or dark: like the system unless the user chose. The choice is no secret, so it may stay in plain storage. */

export type Theme = "auto" | "light" | "dark";

const KEY = "snug.theme";
const PAPER = { light: "#f6f1e9", dark: "#1a1714" };

const systemIsDark = () => matchMedia("(prefers-color-scheme: dark)");

export function chosenTheme(): Theme {
  try {
    const stored = localStorage.getItem(KEY);
    return stored === "light" || stored === "dark" ? stored : "auto";
  } catch {
    return "auto"; // storage is off; a theme is not worth a complaint
  }
}

export function chooseTheme(theme: Theme): void {
  try {
    if (theme === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // It holds until the page is closed.
  }
  apply(theme);
}

/** Shows the chosen theme from now on, also when the system's changes. */
export function startTheme(): void {
  apply(chosenTheme());
  systemIsDark().addEventListener("change", () => apply(chosenTheme()));
}

function apply(theme: Theme): void {
  const shown = theme === "auto" ? (systemIsDark().matches ? "dark" : "light") : theme;
  document.documentElement.dataset["theme"] = shown;
  document.querySelector('meta[name="theme-color"]')?.setAttribute("content", PAPER[shown]);
}
