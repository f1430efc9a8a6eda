// What the reader has chosen: one set of choices for all figures.

const { worlds, arenas, trains, measures, counts } = CONTENT.choices;
const dark = matchMedia("(prefers-color-scheme: dark)");

const state = {
  world: worlds[0],
  arena: arenas[0],
  train: trains[0],
  measure: measures[0],
  focus: "",
  theme: dark.matches ? "dark" : "light",
};
const listeners = [];

/** Call with the names of what has changed. */
const watch = (listener) => listeners.push(listener);

function choose(changes) {
  const changed = Object.keys(changes).filter((name) => state[name] !== changes[name]);
  Object.assign(state, changes);
  if (changed.length) for (const listener of listeners) listener(changed);
}

/** Selects of some of the choices, which follow when the choice is made elsewhere. */
function controls(place, names) {
  const known = {
    measure: ["Measure", measures, CONTENT.labels],
    world: ["World", worlds],
    arena: ["Arena", arenas],
    train: ["Trained with", trains, Object.fromEntries(trains.map((train) => [train, `${train.replace("-", "–")} agents`]))],
  };
  const made = names
    .filter((name) => known[name][1].length > 1)
    .map((name) => {
      const [label, values, texts] = known[name];
      const element = select(label, values, state[name], (value) => choose({ [name]: value }), texts);
      watch((changed) => changed.includes(name) && ($("select", element).value = state[name]));
      return element;
    });
  place.append(...made);
}

function paint() {
  document.documentElement.dataset.theme = state.theme;
  $("#theme").setAttribute("aria-pressed", String(state.theme === "dark"));
  $("#theme").title = state.theme === "dark" ? "Light" : "Dark";
}

watch((changed) => changed.includes("theme") && paint());
$("#theme").addEventListener("click", () => choose({ theme: state.theme === "dark" ? "light" : "dark" }));
dark.addEventListener("change", () => choose({ theme: dark.matches ? "dark" : "light" }));
paint();

/** The colour of a policy, by its name. */
const LOOKS = new Map(CONTENT.looks.map((look) => [look.name, look]));
const colorOf = (policy) => LOOKS.get(policy)?.[state.theme] ?? "gray";

/** A mark in the colour of a policy. */
function mark(policy) {
  const element = h("i", { class: `mark ${LOOKS.get(policy)?.shape ?? ""}` });
  const paintMark = () => (element.style.background = colorOf(policy));
  paintMark();
  watch((changed) => changed.includes("theme") && paintMark());
  return element;
}

/** Names of policies, each of which can be set off in all figures. */
function legend(place, names) {
  const buttons = names.map((name) =>
    h("button", { type: "button", "aria-pressed": "false", onclick: () => choose({ focus: state.focus === name ? "" : name }) },
      mark(name), h("span", {}, name)));
  watch((changed) => {
    if (!changed.includes("focus")) return;
    buttons.forEach((button, k) => button.setAttribute("aria-pressed", String(names[k] === state.focus)));
    place.classList.toggle("focused", state.focus !== "");
  });
  fill(place, buttons);
}
