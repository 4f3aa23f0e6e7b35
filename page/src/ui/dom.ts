/** Elements in one line each: all that a framework would have been used for. */

export type Child = Node | string | null;
export type Attributes = Record<string, string | number | boolean | null>;

/** An HTML element; an attribute that is `false` or `null` is left out, `true` is an empty one. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  set(element, attributes);
  add(element, children);
  return element;
}

/** The same for a drawing. */
export function s<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(element, attributes);
  add(element, children);
  return element;
}

/** Set attributes of an element that is there. */
export function set(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Replace what stands in an element. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren(...children.filter((child) => child !== null));
}

/** Write a text only if it is another one, so that nothing is read out twice. */
export function write(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

let made = 0;

/** A name for an element that another one points at. */
export function newId(stem: string): string {
  made += 1;
  return `${stem}-${made}`;
}

function add(element: Element, children: Child[]): void {
  element.append(...children.filter((child) => child !== null));
}

/** Call back with an element's width, now and whenever it changes, but not while it is laid out. */
export function onWidth(element: Element, resized: (width: number) => void): void {
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry?.contentRect.width ?? 0);
    if (width > 0) requestAnimationFrame(() => resized(width));
  }).observe(element);
}
