/** Colours of the style sheet, for what is painted on a canvas. */

export type Colour =
  | "ink"
  | "quiet"
  | "line"
  | "card"
  | "blue"
  | "vermilion"
  | "green"
  | "purple"
  | "orange"
  | "sky"
  | "region-frozen"
  | "region-unstable"
  | "region-lazy"
  | "region-intermediate"
  | "region-rich"
  | "region-delayed"
  | "region-none"
  | "shrink-far"
  | "shrink"
  | "stay"
  | "grow"
  | "grow-far";

const known = new Map<string, string>();
const dark = window.matchMedia("(prefers-color-scheme: dark)");

/** The colour as the style sheet has it, in light or dark. */
export function colour(name: Colour): string {
  const there = known.get(name);
  if (there !== undefined) return there;
  const found = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  known.set(name, found);
  return found;
}

/** The same as three numbers from 0 to 255. */
export function rgb(name: Colour): readonly [number, number, number] {
  const hex = colour(name).slice(1);
  return [0, 2, 4].map((from) => parseInt(hex.slice(from, from + 2), 16)) as [number, number, number];
}

/** Paint again when the reader goes from light to dark. */
export function onTheme(paint: () => void): void {
  dark.addEventListener("change", () => {
    known.clear();
    paint();
  });
}
