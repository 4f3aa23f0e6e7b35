/** What a tab is to the page. */

import type { Change, State } from "./state.ts";

/** Asks for another state; `done` is false while something is dragged. */
export type Changed = (change: Change, done?: boolean) => void;

export interface Panel {
  readonly element: HTMLElement;
  /** Show a state, once a frame; while something is dragged, not all of it in full detail. */
  readonly render: (state: State, dragged?: boolean) => void;
}
