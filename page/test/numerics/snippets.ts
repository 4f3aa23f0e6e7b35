/**
 * Views on stdin, as JSON; on stdout for each the Python that reproduces it and the numbers that it
 * shows. `tests/page/test_snippets.py` runs the one and compares the other.
 */
import { readFileSync } from "node:fs";
import {
  asPython,
  axisOf,
  balancedFlow,
  balancedStart,
  descent,
  exponentDiagram,
  flow,
  lawPhase,
  lineProblem,
  logTimes,
  mechanisms,
  parameterDiagram,
  placeHistory,
  readHistory,
  reluPhase,
  type View,
} from "../../src/numerics/index.ts";

/** A view, or one whose times or weights the page chooses. */
type Asked = View & { readonly log_times?: number; readonly draw?: Parameters<typeof balancedStart>[0] };

function completed(asked: Asked): View {
  if (asked.kind === "flow" && asked.log_times !== undefined) {
    const times = Array.from(logTimes(lineProblem(asked.setting, asked.start), asked.log_times));
    return { kind: "flow", setting: asked.setting, start: asked.start, times };
  }
  if (asked.kind === "balanced" && asked.draw !== undefined) {
    const { kind, times } = asked;
    return { kind, times, problem: { ...asked.problem, ...balancedStart(asked.draw) } };
  }
  return asked;
}

function shown(view: View): unknown {
  switch (view.kind) {
    case "flow": {
      const found = flow(lineProblem(view.setting, view.start), view.times);
      return { ...found, ...mechanisms(found) };
    }
    case "descent":
      return descent(lineProblem(view.setting, view.start), view.descent);
    case "parameter_diagram":
      return parameterDiagram(axisOf(view.x), axisOf(view.y), view.setting, view.init_alignment);
    case "law":
      return lawPhase(view.law);
    case "exponent_diagram":
      return exponentDiagram(axisOf(view.x), axisOf(view.y), view.fixed, view.tune_rates);
    case "balanced":
      return balancedFlow(view.problem, view.times);
    case "relu":
      return reluPhase(view.gamma, view.gamma_prime, view.zero_output);
    case "history":
      return placeHistory(readHistory(readFileSync(view.file, "utf8")));
  }
}

const lists = (_: string, value: unknown): unknown => {
  if (ArrayBuffer.isView(value)) return Array.from(value as Float64Array);
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
};
const views = JSON.parse(readFileSync(0, "utf8")) as Asked[];
const answers = views.map(completed).map((view) => ({ python: asPython(view), shown: shown(view) }));
process.stdout.write(JSON.stringify(answers, (key, value: unknown) => {
  const list = lists(key, value);
  return Array.isArray(list) ? list.map((part: unknown) => lists("", part)) : list;
}));
