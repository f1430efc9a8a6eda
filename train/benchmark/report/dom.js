// Elements, and files to save. Text reaches the page as text nodes only.

const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const $ = (selector, root = document) => root.querySelector(selector);
const CONTENT = JSON.parse($("#content").textContent);

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const fill = (element, ...children) => element.replaceChildren(...children.flat(Infinity));

/** Rows of a table that is held as columns, see columns() of content.py. */
function rows(columns) {
  const names = Object.keys(columns);
  const lists = names.map((name) => {
    const { texts, numbers } = columns[name];
    return texts ? numbers.map((k) => texts[k]) : columns[name];
  });
  return (lists[0] ?? []).map((_, k) => Object.fromEntries(names.map((name, i) => [name, lists[i][k]])));
}

const DATA = Object.fromEntries(Object.entries(CONTENT.data).map(([name, table]) => [name, rows(table)]));

function select(label, values, chosen, change, names = {}) {
  const options = values.map((value) => h("option", { value, selected: value === chosen }, names[value] ?? String(value)));
  const element = h("select", { onchange: (event) => change(event.target.value) }, options);
  return h("label", {}, h("span", {}, label), element);
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const fileName = (...parts) => parts.join("-").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");

/** Say something to those who see and those who listen. */
function tell(text) {
  const place = $("#told");
  place.textContent = text;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => (place.textContent = ""), 2500);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "aside" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  tell(`${what} copied`);
}
