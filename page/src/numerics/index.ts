/** The numerics of the page: what the user interface calls, and nothing else. */

export * from "./types.ts";
export { axisOf, geomspace, linspace } from "./axis.ts";
export { DEFAULT_SETTING, lineProblem, lineState, settingProblems } from "./setting.ts";
export { flow, logTimes, orderParameters, timeToResidual } from "./flow.ts";
export { descent } from "./descent.ts";
export { mechanisms } from "./mechanisms.ts";
export { ACTING_FROM, MECHANISMS } from "./windows.ts";
export { LEVELS, REGIONS, parameterDiagram, parameterPoint } from "./diagram.ts";
export { PRESETS, at, atUnitRate, exponentValue, lawPhase, settingOfLaw } from "./scaling.ts";
export { exponentDiagram } from "./exponents.ts";
export { LAZY_BELOW, RICH_FROM, balancedFlow, balancedRegime, balancedStart, balancedTimes } from "./balanced.ts";
export { RELU_INITIALISATIONS, reluBoundaries, reluOfLaw, reluPhase } from "./relu.ts";
export { placeHistory, readHistory } from "./history.ts";
export { asPython } from "./python.ts";
