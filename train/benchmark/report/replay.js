// The replay: an episode to play and go through, and what its agents attend to.

const still = matchMedia("(prefers-reduced-motion: reduce)");
const SPEEDS = [1, 2, 5, 10, 20];
const cache = new Map();

const replay = {
  recordings: CONTENT.replays.filter((one) => one.record),
  now: null, scene: null, time: 0, playing: false, speed: 5,
  pinned: -1, hovered: -1, map: -1, // map: layer * heads + head, -1: the mean of the last layer's heads
  get agent() { return this.hovered >= 0 ? this.hovered : this.pinned; },
  get step() { return Math.min(Math.floor(this.time), this.scene.steps - 1); },
};

function replays() {
  if (!replay.recordings.length) return;
  $("#replay").hidden = false;
  const canvas = h("canvas", { id: "scene", tabindex: "0", role: "application", "aria-label": "Replay of an episode" });
  const scrub = h("input", { type: "range", id: "scrub", min: "0", value: "0", step: "1", "aria-label": "Step" });
  const button = (id, text, label, click) => h("button", { type: "button", id, "aria-label": label, title: label, onclick: click }, text);
  const play = button("play", "", "Play", () => setPlaying(!replay.playing));
  const speed = select("Speed", SPEEDS, replay.speed, (value) => (replay.speed = Number(value)),
    Object.fromEntries(SPEEDS.map((value) => [value, `${value} steps/s`])));
  const shot = button("shot", "PNG", "Save this picture as PNG", () =>
    canvas.toBlob((blob) => save(blob, `${fileName(replay.now.world, replay.now.policy, replay.now.n_agents, "step", replay.step)}.png`)));
  const player = h("div", { class: "player" }, play, button("back", "‹", "Step back", () => go(replay.step - 1)), scrub,
    button("on", "›", "Step on", () => go(replay.step + 1)), speed, shot);
  const caption = h("figcaption", { id: "replay-caption" });
  const stage = h("div", { class: "stage" }, canvas, player, h("p", { id: "replay-facts", class: "facts" }), caption);
  const inside = h("div", { class: "inside" }, h("h3", { id: "inside-title" }), h("div", { id: "maps", role: "group", "aria-label": "Layers and heads" }),
    h("div", { id: "weights", class: "scroll", tabindex: "0", role: "region", "aria-label": "Attention" }));
  fill($("#replay-figure"), h("div", { class: "replay" }, stage, inside));

  scrub.addEventListener("input", () => {
    const step = Number(scrub.value); // before it follows the replay
    setPlaying(false);
    go(step);
  });
  pointing(canvas);
  canvas.addEventListener("keydown", keys);
  new ResizeObserver(() => redraw()).observe(canvas);
  watch((changed) => changed.includes("theme") && replay.scene && redraw());
  chooser();
}

/** World, policy and number of agents: what there is of each depends on those before. */
function chooser() {
  const names = ["world", "policy", "n_agents"];
  const labels = { world: "World", policy: "Policy", n_agents: "Agents" };
  const chosen = {};
  const values = (k) => [...new Set(replay.recordings
    .filter((one) => names.slice(0, k).every((name) => one[name] === chosen[name])).map((one) => one[names[k]]))];
  const build = () => {
    names.forEach((name, k) => values(k).includes(chosen[name]) || (chosen[name] = values(k)[0]));
    const made = names.map((name, k) =>
      values(k).length > 1 || name !== "world"
        ? select(labels[name], values(k), chosen[name], (value) => { chosen[name] = name === "n_agents" ? Number(value) : value; build(); })
        : null);
    made.forEach((label, k) => label && ($("select", label).id = `replay-${names[k]}`));
    const focused = document.activeElement?.id;
    fill($("#replay-controls"), made.filter(Boolean));
    if (focused?.startsWith("replay-")) document.getElementById(focused)?.focus();
    load(replay.recordings.find((one) => names.every((name) => one[name] === chosen[name])));
  };
  // Attention makes the best start, among few enough to be told apart.
  const first = replay.recordings.find((one) => one.record.every && one.n_agents > 8) ??
    replay.recordings.find((one) => one.record.every) ?? replay.recordings[0];
  for (const name of names) chosen[name] = first[name];
  build();
}

async function load(recording) {
  replay.now = recording;
  const scene = cache.get(recording) ?? (await Scene.of(recording.record));
  cache.set(recording, scene);
  if (replay.now !== recording) return;
  const time = replay.scene ? replay.time : 0;
  Object.assign(replay, { scene, hovered: -1, time: Math.min(time, scene.steps - 1) });
  if (replay.map >= scene.maps) replay.map = -1;
  replay.pinned = scene.record.every ? busiest(scene) : -1;
  $("#scene").style.aspectRatio = `${scene.width} / ${scene.height}`;
  $("#scrub").max = scene.steps - 1;
  const kept = scene.record.every > 1 ? ` Attention was kept of every ${ordinal(scene.record.every)} step, to make this file small.` : "";
  const most = scene.record.every
    ? ` Lines are as wide as the weights (violet; orange below zero), and go to those in sight, at most the ${CONTENT.units.kept} that weigh most.` : "";
  const trained = recording.train_count ? `, trained with ${dashed(recording.train_count)} agents (seed ${recording.run_seed})` : ", a scripted policy";
  fill($("#replay-caption"), `${recording.policy}${trained}, among ${recording.n_agents}. Red rims: contact.${most}${kept} In a window: `,
    h("code", {}, recording.command));
  maps();
  redraw();
}

const ordinal = (n) => (n === 2 ? "second" : `${n}th`);

/** The agent that has most to look at. */
function busiest(scene) {
  return scene.agents.map((agent) => [scene.attention(agent, replay.step).length, agent]).sort((a, b) => b[0] - a[0] || a[1] - b[1])[0][1];
}

function go(step) {
  replay.time = Math.max(0, Math.min(step, replay.scene.steps - 1));
  redraw();
}

function setPlaying(playing) {
  if (playing && replay.time >= replay.scene.steps - 1) replay.time = 0;
  if (playing && !replay.playing) requestAnimationFrame((then) => tick(then));
  replay.playing = playing;
  if (!playing) replay.time = replay.step;
  $("#play").classList.toggle("playing", playing);
  $("#play").setAttribute("aria-label", playing ? "Pause" : "Play");
  $("#play").title = playing ? "Pause" : "Play";
  redraw();
}

function tick(before) {
  requestAnimationFrame((now) => {
    if (!replay.playing) return;
    replay.time += ((now - before) / 1000) * replay.speed;
    if (replay.time >= replay.scene.steps - 1) {
      replay.time = replay.scene.steps - 1;
      setPlaying(false);
      return;
    }
    redraw();
    tick(now);
  });
}

/** The weights that are drawn: of one layer and head, or the mean of the last layer's heads. */
function weightOf(weights, map) {
  if (map >= 0) return weights[map];
  const { heads } = replay.scene.record;
  return weights.slice(-heads).reduce((sum, weight) => sum + weight, 0) / heads;
}

function links(attended, map) {
  const weights = attended.map((one) => weightOf(one.weights, map));
  const largest = Math.max(...weights.map(Math.abs)) || 1;
  return attended.map((one, k) => ({ other: one.other, strength: weights[k] / largest }));
}

function redraw() {
  if (!replay.scene) return;
  const { scene, step } = replay;
  const time = still.matches ? step : replay.time;
  const agent = replay.agent >= 0 && scene.isThere(time, replay.agent) ? replay.agent : -1;
  const attended = agent < 0 ? [] : scene.attention(agent, step);
  const canvas = $("#scene");
  const view = camera(canvas, scene.width / 2, scene.height / 2, scene.width, scene.height);
  drawScene(canvas, scene, time, view, { agent, links: links(attended, replay.map) });
  for (const map of $$("#maps canvas")) {
    const [x, y] = scene.place(time, agent) ?? [scene.width / 2, scene.height / 2];
    const close = camera(map, x, y, 2 * scene.reach, 2 * scene.reach);
    drawScene(map, scene, time, close, { agent, links: links(attended, Number(map.dataset.map)), inner: true });
  }
  $("#scrub").value = step;
  facts(step);
  readout(agent, attended, step);
}

function facts(step) {
  const { rewards, collisions } = replay.scene.record;
  const earned = rewards.slice(0, step).reduce((sum, reward) => sum + reward, 0);
  const parts = [`step ${step} of ${replay.scene.steps - 1}`];
  if (step) parts.push(`reward ${fixed(earned / step, 2)} per agent step`);
  if (step && collisions) parts.push(`collisions ${fixed(collisions[step] / step, 2)}`);
  $("#replay-facts").textContent = parts.join(" · ");
}

const layerOf = (map) => Math.floor(map / replay.scene.record.heads) + 1;
const headOf = (map) => (map % replay.scene.record.heads) + 1;
const inWords = (map) => `layer ${layerOf(map)}, head ${headOf(map)}`;
const inShort = (map) => `${layerOf(map)}.${headOf(map)}`;

/** A small picture of each layer and head. */
function maps() {
  const { layers, heads, every } = replay.scene.record;
  const choose = (map) => { replay.map = map; maps(); redraw(); };
  const button = (_, map) =>
    h("button", { type: "button", class: "map", "aria-label": inWords(map), "aria-pressed": String(replay.map === map), onclick: () => choose(map) },
      h("canvas", { "data-map": map }), h("span", {}, inShort(map)));
  const made = Array.from({ length: layers * heads }, button);
  const mean = h("button", { type: "button", class: "plain", "aria-pressed": String(replay.map < 0), onclick: () => choose(-1) }, "Mean of the last layer");
  const focused = $$("#maps button").indexOf(document.activeElement);
  // A row a layer, where the heads are few enough.
  $("#maps").style.gridTemplateColumns = heads <= 4 ? `repeat(${heads}, minmax(0, 7.5rem))` : "repeat(auto-fill, minmax(5.5rem, 1fr))";
  fill($("#maps"), every ? [h("p", {}, mean, "or one layer.head"), ...made] : []);
  if (focused >= 0) $$("#maps button")[focused]?.focus();
}

/** The numbers behind the lines. */
function readout(agent, attended, step) {
  const { layers, heads, every } = replay.scene.record;
  const key = [replay.recordings.indexOf(replay.now), agent, replay.agent, every ? replay.scene.keptStep(step) : -1, replay.map].join();
  if (readout.shown === key) return;
  readout.shown = key;
  const title = !every
    ? layers ? "Its attention was left out, to make this file small." : "This policy weighs no pairs: there is no attention to show."
    : agent < 0 && replay.agent >= 0 ? `Agent ${replay.agent} has left.`
    : agent < 0 ? "Choose an agent to see its attention."
    : `Agent ${agent} at step ${replay.scene.keptStep(step)}`;
  $("#inside-title").textContent = title;
  if (agent < 0 || !attended.length) return fill($("#weights"));
  const columns = Array.from({ length: layers * heads }, (_, k) => k);
  const shownOf = (weights) => Math.abs(weightOf(weights, replay.map));
  const [own, ...others] = attended;
  const largest = columns.map((k) => Math.max(...attended.map((one) => Math.abs(one.weights[k]))) || 1);
  const cell = (one) => (k) => {
    const weight = one.weights[k];
    const element = h("td", { class: k === replay.map ? "chosen" : null, "data-weight": String(weight), "data-layer": Math.floor(k / heads), "data-head": k % heads }, fixed(weight));
    element.style.setProperty("--part", `${Math.round((100 * Math.abs(weight)) / largest[k])}%`);
    element.classList.add(weight < 0 ? "against" : "for");
    return element;
  };
  const line = (one, name) => h("tr", { "data-agent": one.other }, h("th", { scope: "row" }, name), columns.map(cell(one)));
  others.sort((a, b) => shownOf(b.weights) - shownOf(a.weights));
  const heading = (k) => h("th", { scope: "col" }, h("abbr", { title: inWords(k) }, inShort(k)));
  fill($("#weights"), h("table", { "data-agent": agent, "data-step": replay.scene.keptStep(step) },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "to"), columns.map(heading))),
    h("tbody", {}, own.weights.some(Boolean) ? [line(own, "itself")] : [], others.map((one) => line(one, String(one.other))))));
}

function pointing(canvas) {
  const agentAt = (event) => {
    const box = canvas.getBoundingClientRect(), { scene } = replay;
    const scale = Math.min(box.width / scene.width, box.height / scene.height);
    const x = scene.width / 2 + (event.clientX - box.left - box.width / 2) / scale;
    const y = scene.height / 2 - (event.clientY - box.top - box.height / 2) / scale;
    return scene.at(still.matches ? replay.step : replay.time, x, y, (event.pointerType === "touch" ? 22 : 12) / scale);
  };
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch" || !replay.scene) return;
    const agent = agentAt(event);
    canvas.classList.toggle("pointing", agent >= 0);
    if (agent !== replay.hovered) (replay.hovered = agent), redraw();
  });
  canvas.addEventListener("pointerleave", () => ((replay.hovered = -1), redraw()));
  canvas.addEventListener("click", (event) => {
    const agent = agentAt(event);
    replay.pinned = agent === replay.pinned && event.pointerType !== "touch" ? -1 : agent;
    redraw();
  });
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { scene, pinned, step } = replay;
  const here = scene.agents.filter((agent) => scene.isThere(step, agent));
  const at = here.indexOf(pinned);
  const pin = (agent) => ((replay.pinned = agent), redraw());
  const actions = {
    " ": () => setPlaying(!replay.playing),
    ArrowLeft: () => (setPlaying(false), go(step - 1)),
    ArrowRight: () => (setPlaying(false), go(step + 1)),
    Home: () => go(0),
    End: () => go(scene.steps - 1),
    ArrowDown: () => pin(here[(at + 1) % here.length]),
    ArrowUp: () => pin(here[(at < 1 ? here.length : at) - 1]),
    Escape: () => ((keys.left = true), (replay.hovered = -1), pin(-1)),
  };
  // Tab goes from agent to agent, and on from the last; after Escape it leaves at once.
  const next = at + (event.shiftKey ? -1 : 1);
  if (event.key === "Tab" && !keys.left && next >= 0 && next < here.length) actions.Tab = () => pin(here[next]);
  keys.left = false;
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}
