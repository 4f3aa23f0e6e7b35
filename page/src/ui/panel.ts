/** What a tab is to the page. */

import type { Change, State } from "./state.ts";

/** Asks for another state; `done` is false while something is dragged. */
export type Changed = (change: Change, done?: boolean) => void;

export interface Panel {
  readonly element: HTMLElement;
  /** Show a state. Cheap enough to be called once a frame. */
  readonly render: (state: State) => void;
}
