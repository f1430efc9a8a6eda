// Vega-Lite's charts. `ast` lets Vega interpret its expressions, so that the page needs no eval.

const OPTIONS = {
  mode: "vega-lite", actions: false, renderer: "svg", ast: true, logLevel: 1, // errors
  defaultStyle: false, tooltip: { disableDefaultStyle: true }, // the page's own, which its security policy knows
};
const PARAMS = ["world", "arena", "train", "measure", "focus"];
const panels = [];

const bare = (node) => {
  if (Array.isArray(node)) return node.map(bare);
  if (node === null || typeof node !== "object") return node;
  const made = Object.fromEntries(Object.entries(node).map(([name, value]) => [name, bare(value)]));
  for (const channel of ["color", "shape", "strokeDash"]) if (made[channel]?.field) made[channel].legend = null;
  return made;
};

/** A chart's specification with its data, and the choices as they are. */
function specification(chart, legends) {
  const config = CONTENT.themes[state.theme];
  const spec = legends ? structuredClone(chart.spec) : bare(chart.spec);
  const values = { ...state, ink: config.title.color, paper: config.background };
  for (const param of spec.params) if (param.name in values) param.value = values[param.name];
  const ours = (name) => DATA[name].filter((row) => !chart.by || !(chart.by in row) || row[chart.by] === chart.name);
  const text = JSON.stringify(chart.spec);
  const read = Object.keys(DATA).filter((name) => text.includes(`{"name":"${name}"}`));
  spec.datasets = Object.fromEntries(read.map((name) => [name, ours(name)]));
  delete spec.config;
  return [spec, config];
}

async function draw(panel) {
  const turn = (panel.turn = (panel.turn ?? 0) + 1);
  const [spec, config] = specification(panel.chart, false);
  delete spec.title;
  const place = h("div", { class: "chart" });
  place.style.minHeight = `${panel.place.offsetHeight}px`;
  panel.holder.append(place);
  const made = await vegaEmbed(place, spec, { ...OPTIONS, config });
  if (turn !== panel.turn) return place.remove(), made.finalize();
  panel.view?.finalize();
  panel.place.remove();
  place.style.minHeight = "";
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", `${panel.chart.name}: chart; the table below holds its numbers`);
  Object.assign(panel, { place, view: made });
}

/** The chart as a picture of its own: with title and legend, as wide on a phone as on a desk. */
async function picture(chart, kind) {
  const [spec, config] = specification(chart, true);
  spec.title = { text: chart.name, subtitle: chart.subtitle() , subtitleColor: config.axis.labelColor };
  spec.width = spec.width === "container" ? 640 : spec.width;
  spec.padding = 16;
  const made = await vegaEmbed(h("div"), spec, { ...OPTIONS, config });
  const name = fileName(chart.kind, chart.name);
  if (kind === "svg") save(new Blob([await made.view.toSVG()], { type: "image/svg+xml" }), `${name}.svg`);
  else (await made.view.toCanvas(3)).toBlob((blob) => save(blob, `${name}.png`));
  made.finalize();
}

function panelOf(kind, chart) {
  chart.kind = kind;
  const place = h("div", { class: "chart" });
  const holder = h("div", { class: "holder" }, place);
  const saves = ["svg", "png"].map((type) =>
    h("button", { type: "button", "aria-label": `Save ${chart.name} as ${type.toUpperCase()}`, onclick: () => picture(chart, type) },
      type.toUpperCase()));
  const title = LOOKS.has(chart.name) ? [mark(chart.name), chart.name] : [chart.name];
  const element = h("div", { class: "panel" },
    h("div", { class: "title" }, h("h3", {}, title), h("div", { class: "saves" }, saves)), holder);
  panels.push({ chart, element, holder, place });
  return element;
}

/** A world without the chosen measure has nothing to show. */
function unmeasured() {
  for (const { chart, element } of panels) {
    if (chart.kind === "transfer") element.hidden = !DATA.cells.some((row) => row.world === chart.name && row.measure === state.measure &&
      (row.arena === state.arena || row.arena === "as trained"));
  }
}

/** What a chart shows, in words. */
function subtitles(kind) {
  const arena = () => (arenas.length > 1 ? `, ${state.arena}` : "");
  const label = () => CONTENT.labels[state.measure];
  const trained = () => `trained with ${state.train.replace("-", "–")} agents`;
  return {
    transfer: () => `${label()}, ${trained()}${arena()}`,
    heat: () => `${CONTENT.labels[measures[0]]}, ${state.world}${arena()}`,
    learning: () => `reward per agent step, ${trained()}`,
    statistics: () => `scores, ${trained()}${arena()}`,
  }[kind] ?? (() => "");
}

function charts() {
  for (const place of $$("[data-chart]")) {
    const kind = place.dataset.chart;
    for (const chart of CONTENT.charts[kind] ?? []) {
      chart.subtitle ??= subtitles(kind);
      place.append(panelOf(kind, chart));
    }
  }
  unmeasured();
  watch(unmeasured);
  watch((changed) => {
    const signals = changed.filter((name) => PARAMS.includes(name));
    for (const panel of panels) {
      if (changed.includes("theme")) draw(panel);
      else if (panel.view && signals.length) {
        for (const name of signals) panel.view.view.signal(name, state[name]);
        panel.view.view.runAsync();
      }
    }
  });
  return Promise.all(panels.map(draw));
}
