/** The page: tabs, and the state between address, sliders and pictures. */

import "./style.css";
import { readAddress, writeAddress } from "./address.ts";
import { balancedPanel } from "./balanced/panel.ts";
import { fill, h, newId, set } from "./dom.ts";
import { linePanel } from "./line/panel.ts";
import { luoPanel } from "./luo/panel.ts";
import type { Changed, Panel } from "./panel.ts";
import { onTheme } from "./palette.ts";
import { placePanel } from "./place/panel.ts";
import { copyText } from "./python.ts";
import { type Tab, TABS } from "./state.ts";
import { installTips } from "./tip.ts";

const TITLES: Readonly<Record<Tab, string>> = {
  line: "Line",
  balanced: "λ-balanced",
  luo: "Luo diagram",
  place: "Place my network",
};
const SAID = 2000; // ms for which a button says what it did

/** A history that the page was written with: the network of a report. */
const given = document.getElementById("history")?.textContent ?? null;
/** A page inside a report has no address of its own. */
const framed = location.protocol === "about:";

let { state, problems } = readAddress(location.hash);
if (given !== null && location.hash === "") state = { ...state, tab: "place" };
let asked = 0;
let dragged = false;

/** Another state: drawn with the next frame; what is done can be gone back from. */
const changed: Changed = (change, done = false) => {
  state = { ...state, ...change };
  dragged = !done;
  draw();
  if (done) keep();
};

const panels: Readonly<Record<Tab, Panel>> = {
  line: linePanel(changed),
  balanced: balancedPanel(changed),
  luo: luoPanel(changed),
  place: placePanel(given),
};
const tabs = TABS.map((tab) => ({ tab, button: tabButton(tab) }));
const notice = h("div", { class: "notice", role: "status" });
build();
tell();
show();

window.addEventListener("hashchange", () => {
  if (writeAddress(state) === (location.hash || "#")) return;
  ({ state, problems } = readAddress(location.hash));
  dragged = false;
  tell();
  draw();
});
onTheme(draw);

function build(): void {
  const share = h("button", { type: "button", class: "share", hidden: framed }, "Copy link");
  share.addEventListener("click", () => {
    void copyText(location.href).then((copied) => {
      share.textContent = copied ? "Copied" : "Copy it from the address bar";
      setTimeout(() => (share.textContent = "Copy link"), SAID);
    });
  });
  const reset = h("button", { type: "button", class: "share" }, "Start over");
  reset.addEventListener("click", () => changed({ ...readAddress("").state, tab: state.tab }, true));
  document
    .getElementById("page")
    ?.append(
      h(
        "header",
        {},
        h("p", { class: "kicker" }, "lazyrich"),
        h("h1", {}, "Lazy or rich?"),
        h("div", { role: "tablist", "aria-label": "Models" }, ...tabs.map(({ button }) => button)),
        h("div", { class: "actions" }, reset, share),
      ),
      notice,
      ...TABS.map((tab) => panels[tab].element),
      h(
        "footer",
        {},
        "Exact solutions, computed in this page: nothing is loaded, and nothing is sent. Every symbol explains itself on hover and on focus.",
      ),
    );
  for (const { tab, button } of tabs) {
    const { element } = panels[tab];
    element.id = newId("panel");
    set(element, { role: "tabpanel", "aria-labelledby": button.id });
    set(button, { "aria-controls": element.id });
  }
  installTips();
}

function tabButton(tab: Tab): HTMLButtonElement {
  const button = h("button", { type: "button", role: "tab", id: newId("tab") }, TITLES[tab]);
  button.addEventListener("click", () => changed({ tab }, true));
  button.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    const next = TABS[(TABS.indexOf(tab) + step + TABS.length) % TABS.length];
    changed({ tab: next }, true);
    tabs.find((one) => one.tab === next)?.button.focus();
  });
  return button;
}

function draw(): void {
  if (asked !== 0) return;
  asked = requestAnimationFrame(() => {
    asked = 0;
    show();
  });
}

function show(): void {
  for (const { tab, button } of tabs) {
    const chosen = tab === state.tab;
    set(button, { "aria-selected": String(chosen), tabindex: chosen ? 0 : -1 });
    panels[tab].element.hidden = !chosen;
  }
  panels[state.tab].render(state, dragged);
}

/** Write the state into the address, as a place that “back” returns to. */
function keep(): void {
  const address = writeAddress(state);
  if (!framed && address !== (location.hash || "#")) history.pushState(null, "", address);
  problems = [];
  tell();
}

/** What of the address was not understood. */
function tell(): void {
  notice.hidden = problems.length === 0;
  fill(notice, ...problems.slice(0, 3).map((problem) => h("p", {}, problem)));
}
