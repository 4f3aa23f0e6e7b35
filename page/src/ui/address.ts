/** The state in the address, behind its `#`, so that a view can be shared. */

import type { Field } from "./fields.ts";
import { FIELDS, INITIAL, type Name, type State } from "./state.ts";

export interface Read {
  readonly state: State;
  /** A sentence for each thing that the address holds and that is none of ours. */
  readonly problems: readonly string[];
}

const LONGEST = 40; // characters of what came, in a sentence
const fields = FIELDS as unknown as Readonly<Record<Name, Field<unknown>>>;

/** The state of an address; what it does not say, or says wrongly, is as at the beginning. */
export function readAddress(hash: string): Read {
  const found: Record<string, unknown> = { ...INITIAL };
  const problems: string[] = [];
  for (const part of hash.replace(/^#/, "").split("&").filter(Boolean)) {
    const cut = part.indexOf("=");
    const name = cut < 0 ? part : part.slice(0, cut);
    const text = decoded(cut < 0 ? "" : part.slice(cut + 1));
    if (!Object.hasOwn(fields, name)) {
      problems.push(`The address has “${shortened(decoded(name))}”, which this page does not know.`);
      continue;
    }
    const field = fields[name as Name];
    const value = field.parse(text);
    if (value === null) {
      problems.push(`In the address, ${name} must be ${field.expected}; got “${shortened(text)}”.`);
    } else found[name] = value;
  }
  return { state: found as unknown as State, problems };
}

/** The address of a state: what is not as at the beginning. */
export function writeAddress(state: State): string {
  const parts = (Object.keys(fields) as Name[]).flatMap((name) => {
    const text = fields[name].format(state[name]);
    return text === fields[name].format(INITIAL[name]) ? [] : [`${name}=${text}`];
  });
  return parts.length === 0 ? "#" : `#${parts.join("&")}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone % sign
  }
}

function shortened(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
