// Elements made in code. Text always goes through text nodes, so data is never read as markup.

/**
 * Make an element.
 * @param {string} tag
 * @param {object} attributes `on` holds listeners; null, undefined and false leave one out
 * @param {...(Node|string|number|null|Array)} children
 */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Make an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value);
    }
  }
  for (const [type, listener] of Object.entries(on)) element.addEventListener(type, listener);
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined
    && child !== false).map((child) => (child instanceof Node ? child : String(child)));
}

/** Put these children in place of an element's own. */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

const drawnFrom = new WeakMap();

/** Fill an element anew only when what it shows has changed: a redraw would take the focus. */
export function fillFrom(element, data, draw) {
  const key = JSON.stringify(data);
  if (drawnFrom.get(element) === key) return;
  drawnFrom.set(element, key);
  fill(element, draw(data));
}

/** Set a text only where it differs, so that a screen reader does not repeat it. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Say something to screen readers, without moving anybody's focus. */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  announcer.append(el("span", {}, text));
  while (announcer.childElementCount > 20) announcer.firstElementChild.remove();
}
