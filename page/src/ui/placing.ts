/** Where beside its place a label of a map stands. */

export interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

const LETTER = 6.2; // pixels of a letter, about
const SIDES = [
  { dx: 7, dy: -6, anchor: "start" },
  { dx: 7, dy: 14, anchor: "start" },
  { dx: -7, dy: -6, anchor: "end" },
  { dx: -7, dy: 14, anchor: "end" },
] as const;

/** Where beside a place its label hits neither another one nor the edge. */
export function freeSide(
  left: number,
  top: number,
  label: string,
  width: number,
  taken: Box[],
): (typeof SIDES)[number] {
  const box = ({ dx, dy, anchor }: (typeof SIDES)[number]): Box => {
    const from = left + dx - (anchor === "end" ? LETTER * label.length : 0);
    return { left: from, right: from + LETTER * label.length, top: top + dy - 10, bottom: top + dy + 2 };
  };
  const meets = (one: Box, other: Box): boolean =>
    one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
  const fits = (one: Box): boolean =>
    one.left > 0 && one.right < width && !taken.some((other) => meets(one, other));
  const side = SIDES.find((one) => fits(box(one))) ?? SIDES[0];
  taken.push(box(side), { left: left - 6, right: left + 6, top: top - 6, bottom: top + 6 });
  return side;
}
