/** The facts of a network on a line in plain English. */

import type { LawPhase, Mechanism } from "../../numerics/index.ts";
import { compact, inWords } from "../numerals.ts";
import type { Facts } from "./facts.ts";

/** Regime, phase, mechanism and what steps do: one sentence each. */
export function reading(facts: Facts, law: LawPhase | null): string[] {
  return [regimeSentence(facts), mechanismSentence(facts), phaseSentence(facts, law), stepSentence(facts)];
}

function regimeSentence({ regime, change, status }: Facts): string {
  if (regime === "frozen") return "This network is frozen: nothing in it can move.";
  const stuck = status === "ok" ? "" : ` It ${status.replace(/:.*/, "")}.`;
  if (change === 0)
    return `Under gradient flow this network is lazy: its kernel does not change at all.${stuck}`;
  return `Under gradient flow this network is ${regime}: its kernel changes by ${sizeOf(change)}.${stuck}`;
}

function sizeOf(change: number): string {
  if (change >= 1) return `${inWords(change)} times its size`;
  return change >= 1e-4 ? `${inWords(100 * change)} % of its size` : `${inWords(change)} of its size`;
}

function mechanismSentence({ acting, dominant, windows }: Facts): string {
  if (dominant === null) return "No mechanism acts: the layers neither turn nor grow noticeably.";
  const when = (name: Mechanism): string => {
    const [start, stop] = windows[name] ?? [NaN, NaN];
    return `from t = ${compact(start)} to ${compact(stop)}`;
  };
  if (acting.length === 1) return `Only ${dominant} acts, ${when(dominant)}.`;
  const others = acting.filter((name) => name !== dominant).map((name) => `${name} ${when(name)}`);
  return `Mostly ${dominant}, ${when(dominant)}; also ${others.join(" and ")}.`;
}

function phaseSentence({ phase, kind }: Facts, law: LawPhase | null): string {
  if (law === null || phase === "cannot tell") {
    return "A network with a layer that is zero, or does not learn, has no family and no phase.";
  }
  const { texts } = law;
  const numbers = `b = ${texts.signal}, k = ${texts.kernel}, r = ${texts.rate}`.replaceAll("-", "−");
  const words = {
    frozen: "wide networks of this family are frozen: the wider, the slower they learn",
    unstable: "this family is unstable: the wider, the smaller the steps must be",
    kernel: "this family is in the kernel phase: the wider, the lazier",
    feature:
      kind === "vanishing_init"
        ? "this family is in the feature phase, from a vanishing start: the wider, the richer"
        : "this family is in the feature phase: its kernel changes by the same factor at every width",
  }[phase];
  return `As the width grows, ${words} (${numbers}).`;
}

function stepSentence({
  outcome,
  peak,
  growth,
  divergedAt,
  sharpness,
  finalSharpness,
  stepChange,
}: Facts): string {
  switch (outcome) {
    case "diverges":
      return `Gradient descent diverges: at step ${divergedAt} it has left the range of numbers.`;
    case "catapult":
      return (
        `Gradient descent is catapulted: its loss rises to ${inWords(growth)} times its start at step ${peak}, ` +
        `then it settles where the loss is flatter, and its kernel has changed by ${sizeOf(stepChange)}.`
      );
    case "settles":
      return sharpness > 2
        ? "Gradient descent settles, although its steps are too large for the curvature at the start."
        : "Gradient descent settles, and its loss never exceeds its start.";
    case "cannot tell":
      if (finalSharpness > 2) {
        return "Gradient descent cannot settle where the flow ends: its steps are too large for the curvature there.";
      }
      return growth > 1.001
        ? `Gradient descent has not settled: its loss has been at ${inWords(growth)} times its start.`
        : "Gradient descent has not settled within the steps that were made.";
  }
}
