/** Numbers as people read and type them. */

const LARGE = ["", "", " million", " billion", " trillion"]; // by powers of a thousand
const LEAST = -4;
const MOST = 15; // powers of ten between which a number is spelled without one
const RAISED: Record<string, string> = {
  "-": "⁻",
  "0": "⁰",
  "1": "¹",
  "2": "²",
  "3": "³",
  "4": "⁴",
  "5": "⁵",
  "6": "⁶",
  "7": "⁷",
  "8": "⁸",
  "9": "⁹",
  "/": "ᐟ",
};

/** A number in a sentence, as `in_words` of the library writes it. */
export function inWords(number: number, digits = 2): string {
  if (Number.isNaN(number)) return "an unknown number";
  const sign = number < 0 ? "−" : "";
  const size = Math.abs(number);
  if (size === 0 || size === Infinity) return size === 0 ? "0" : `${sign}infinity`;
  const [mantissa = "", exponent = ""] = size.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  if (power < LEAST || power >= MOST) return `${sign}${short(mantissa)} × 10${raised(power)}`;
  const thousands = power >= 6 ? Math.floor(power / 3) : 0;
  const decimals = Math.max(0, digits - 1 - power + 3 * thousands);
  return `${sign}${short(grouped(size / 1000 ** thousands, decimals))}${LARGE[thousands] ?? ""}`;
}

/** The same where there is little room: powers of ten in place of words. */
export function compact(number: number, digits = 3): string {
  const size = Math.abs(number);
  if (!Number.isFinite(number)) return Number.isNaN(number) ? "–" : number > 0 ? "∞" : "−∞";
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) {
    const [mantissa = "", exponent = ""] = size.toExponential(digits - 1).split("e");
    const factor = short(mantissa);
    const power = `10${raised(Number(exponent))}`;
    return `${number < 0 ? "−" : ""}${factor === "1" ? power : `${factor}·${power}`}`;
  }
  return inWords(number, digits);
}

/** A number for a field: what `parseNumber` reads back, in few digits. */
export function typed(number: number, digits = 4): string {
  if (number === 0) return "0";
  const rounded = Number(number.toPrecision(digits));
  const size = Math.abs(rounded);
  if (size >= 1e5 || size < 1e-3) return rounded.toExponential().replace("e+", "e");
  return String(rounded);
}

/** What someone typed as a number (`1e6`, `10^6`, `−1/2`, `0.5`), or null. */
export function parseNumber(text: string): number | null {
  const plain = text.trim().replaceAll("−", "-").replaceAll(" ", "");
  const power = /^([+-]?)10\^([+-]?\d+)$/.exec(plain);
  if (power) return Number(`${power[1]}1e${power[2]}`);
  const parts = plain.split("/");
  if (parts.length > 2 || parts.some((part) => !NUMBER.test(part))) return null;
  const value = Number(parts[0]) / Number(parts[1] ?? 1);
  return Number.isFinite(value) ? value : null;
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** A number as a fraction, `-1/2`; with decimals where it is none of a small denominator. */
export function fraction(number: number): string {
  for (let below = 1; below <= 12; below += 1) {
    const above = Math.round(number * below);
    if (Math.abs(above / below - number) < 1e-9) {
      return below === 1 ? String(above + 0) : `${above}/${below}`;
    }
  }
  return String(Number(number.toFixed(4)));
}

/** A power as it stands above the line. */
export function raised(power: number | string): string {
  return [...String(power).replace("−", "-")].map((sign) => RAISED[sign] ?? sign).join("");
}

function grouped(number: number, decimals: number): string {
  const [whole = "", part] = number.toFixed(decimals).split(".");
  const spaced = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return part === undefined ? spaced : `${spaced}.${part}`;
}

function short(text: string): string {
  return text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
}
