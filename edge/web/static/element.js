// The page's two ways to the document: find an element that must be there, and make or change one.

export const find = (id) => {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element ${id}`);
  return element;
};

export const make = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(element.dataset, value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
};

// Writes only what differs, so that nothing is laid out, or read aloud, without need.
export const say = (element, words) => {
  if (element.textContent !== words) element.textContent = words;
};

export const mark = (element, name, on) => {
  if (on) element.dataset[name] = "";
  else delete element.dataset[name];
};

// Keeps one child of `parent` per key, in the order of `keys`; `build` makes a missing one.
export const keyed = (parent, keys, build) => {
  const present = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = keys.map((key) => {
    const child = present.get(key) ?? build(key);
    child.dataset.key = key;
    return child;
  });
  const same = wanted.length === parent.children.length && wanted.every((child, i) => child === parent.children[i]);
  if (!same) {
    const focused = document.activeElement;
    parent.replaceChildren(...wanted);
    if (focused && parent.contains(focused)) focused.focus({ preventScroll: true });
  }
  return wanted;
};
