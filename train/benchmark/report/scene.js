// A recorded episode: unpacked, and drawn. Lengths are in the world's units, y points up.

// The viewer's palette, and lighter for the dark.
const SHADES = {
  light: ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442", "#d55e00"],
  dark: ["#3a9be0", "#f0b02a", "#2fbf92", "#dd90bb", "#8ccdf5", "#f0e442", "#ff8242"],
};
const shade = (color) => SHADES[state.theme][color % SHADES.light.length];
const THERE = 1, FLASH = 2;

/** What pack() of packing.py packed, as an Int32Array. */
async function unpack({ shape, bytes, differences, data }) {
  const deflated = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
  const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const n = planes.length / bytes;
  const numbers = new Int32Array(n);
  for (let plane = 0; plane < bytes; plane++) {
    for (let k = 0; k < n; k++) numbers[k] |= planes[plane * n + k] << (8 * plane);
  }
  const unused = 32 - 8 * bytes; // the sign is in the highest byte
  for (let k = 0; k < n; k++) numbers[k] = (numbers[k] << unused) >> unused;
  if (!differences) return numbers;
  const [steps, columns] = shape;
  const made = new Int32Array(n);
  for (let column = 0; column < columns; column++) {
    for (let step = 0, sum = 0; step < steps; step++) {
      sum += numbers[column * steps + step];
      made[step * columns + column] = sum;
    }
  }
  return made;
}

class Scene {
  static async of(record) {
    const scene = new Scene();
    const { scenery } = record;
    const [motion, flags, counts, others, weights] = await Promise.all(
      [scenery.motion, scenery.flags, record.counts, record.others, record.weights].map((packed) => packed && unpack(packed)));
    Object.assign(scene, scenery, { record, motion, flags, counts, others, weights });
    [scene.steps, scene.numbers] = scenery.motion.shape;
    scene.unit = scenery.width / CONTENT.units.place;
    scene.maps = record.layers * record.heads;
    if (counts) {
      const [kept, slots] = record.counts.shape;
      scene.slots = slots;
      scene.starts = new Int32Array(kept * slots + 1);
      counts.forEach((count, k) => (scene.starts[k + 1] = scene.starts[k] + count));
    }
    scene.circleOf = new Map(scenery.circles.map(([agent], k) => [agent, k]).reverse());
    scene.agents = [...scene.circleOf.keys()].filter((agent) => agent >= 0).sort((a, b) => a - b);
    scene.reach = scene.farthest();
    return scene;
  }

  /** The last step, not after this one, of which the attention is kept; -1: there is none. */
  keptStep(step) {
    const { every } = this.record;
    return every ? Math.floor(step / every) * every : -1;
  }

  /** Whom an agent attends to at a kept step, itself first: [{ other, weights: by layer and head }]. */
  attention(agent, step) {
    const kept = this.keptStep(step);
    if (kept < 0) return [];
    const k = (kept / this.record.every) * this.slots + agent;
    const found = [];
    for (let entry = this.starts[k]; entry < this.starts[k + 1]; entry++) {
      const weights = this.weights.subarray(entry * this.maps, (entry + 1) * this.maps);
      found.push({ other: this.others[entry], weights: Array.from(weights, (w) => w / CONTENT.units.weight) });
    }
    return found;
  }

  number(step, k) {
    return this.motion[step * this.numbers + k] * this.unit;
  }

  /** The shortest displacement that (dx, dy) stands for where the world wraps. */
  nearest(dx, dy) {
    if (this.wrap[0]) dx -= this.width * Math.round(dx / this.width);
    if (this.wrap[1]) dy -= this.height * Math.round(dy / this.height);
    return [dx, dy];
  }

  /** A point that is kept at index k, at a time between steps. */
  point(time, k) {
    const step = Math.min(Math.floor(time), this.steps - 1), part = time - step;
    const x = this.number(step, k), y = this.number(step, k + 1);
    if (part <= 0 || step + 1 >= this.steps) return [x, y];
    let dx = this.number(step + 1, k) - x, dy = this.number(step + 1, k + 1) - y;
    if (Math.abs(dx) * 2 > this.width || Math.abs(dy) * 2 > this.height) [dx, dy] = this.nearest(dx, dy);
    return [x + part * dx, y + part * dy];
  }

  flag(time, circle) {
    return this.flags[Math.min(Math.floor(time), this.steps - 1) * this.circles.length + circle];
  }

  place(time, agent) {
    const circle = this.circleOf.get(agent);
    return circle === undefined || !(this.flag(time, circle) & THERE) ? null : this.point(time, 2 * circle);
  }

  isThere = (time, agent) => this.place(time, agent) !== null;

  /** How far agents look, as far as the record tells. */
  farthest() {
    let most = 0;
    for (const agent of this.agents) {
      const from = this.place(0, agent);
      for (const { other } of from ? this.attention(agent, 0) : []) {
        const to = this.place(0, other);
        if (to) most = Math.max(most, Math.hypot(...this.nearest(to[0] - from[0], to[1] - from[1])));
      }
    }
    const radius = Math.max(...this.circles.map((circle) => circle[2]), this.width / 100);
    return Math.min(Math.max(most + radius, 4 * radius), this.width / 2);
  }

  /** The agent at a place, nearest first, within a distance; -1: none. */
  at(time, x, y, within) {
    let best = -1, least = Infinity;
    for (const agent of this.agents) {
      const place = this.place(time, agent);
      if (!place) continue;
      const distance = Math.hypot(...this.nearest(place[0] - x, place[1] - y)) - this.circles[this.circleOf.get(agent)][2];
      if (distance < Math.min(within, least)) [best, least] = [agent, distance];
    }
    return best;
  }
}

/** Colours of the page as it is. */
function inks() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

/** A camera that shows `reach` units around (x, y) on a canvas, at the device's resolution. */
function camera(canvas, x, y, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, v] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== w || canvas.height !== v) Object.assign(canvas, { width: w, height: v });
  const scale = Math.min(w / width, v / height);
  return { x, y, scale, ratio, w, h: v, X: (at) => w / 2 + (at - x) * scale, Y: (at) => v / 2 - (at - y) * scale };
}

/** Draw a moment: links are [{ other, strength in [-1, 1] }] of the agent. */
function drawScene(canvas, scene, time, view, { agent = -1, links = [], inner = false } = {}) {
  const context = canvas.getContext("2d");
  const ink = inks();
  const { ratio, scale, X, Y } = view;
  const point = ratio * (inner ? 0.7 : 1);
  const least = 3.2 * point;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = ink("world");
  context.fillRect(0, 0, view.w, view.h);
  const [halfWidth, halfHeight] = [view.w / 2 / scale, view.h / 2 / scale];

  /** Every image of something at (x, y) that can be seen, in pixels. */
  function* images(x, y, size) {
    const shifts = (at, middle, half, length, wraps) => {
      if (!wraps) return [at];
      const first = Math.ceil((middle - half - size - at) / length), last = Math.floor((middle + half + size - at) / length);
      return Array.from({ length: Math.max(0, last - first + 1) }, (_, k) => at + (first + k) * length);
    };
    for (const u of shifts(x, view.x, halfWidth, scene.width, scene.wrap[0])) {
      for (const v of shifts(y, view.y, halfHeight, scene.height, scene.wrap[1])) yield [X(u), Y(v)];
    }
  }
  const line = (x, y, dx, dy, width) => {
    context.lineWidth = width;
    for (const [u, v] of images(x, y, Math.max(Math.abs(dx), Math.abs(dy)))) {
      context.beginPath();
      context.moveTo(u, v);
      context.lineTo(u + dx * scale, v - dy * scale);
      context.stroke();
    }
  };

  if (!inner) grid(context, scene, view, ink);
  let k = 2 * scene.circles.length;
  const arrows = scene.arrows.map(([of, color]) => ({ of, color, k: (k += 4) - 4 }));
  const lines = scene.lines.map(([of, color]) => ({ of, color, k: (k += 4) - 4 }));
  context.lineCap = "round";
  for (const { of, color, k: at } of lines) {
    if (of >= 0 && !scene.isThere(time, of)) continue;
    const [x, y] = scene.point(time, at), [u, v] = scene.point(time, at + 2);
    context.strokeStyle = context.fillStyle = color < 0 ? ink("edge") : shade(color);
    line(x, y, u - x, v - y, point);
    for (const [a, b] of images(u, v, 0)) disc(context, a, b, 2 * point);
  }
  const from = scene.place(time, agent);
  for (const { other, strength } of links.toSorted((a, b) => Math.abs(a.strength) - Math.abs(b.strength))) {
    const to = scene.place(time, other);
    if (!from || !to || !strength || other === agent) continue;
    context.strokeStyle = ink(strength > 0 ? "attention" : "against");
    context.globalAlpha = 0.25 + 0.75 * Math.abs(strength);
    line(...from, ...scene.nearest(to[0] - from[0], to[1] - from[1]), Math.max(0.75, 6 * Math.abs(strength)) * point);
  }
  context.globalAlpha = 1;
  scene.circles.forEach(([of, color, radius], circle) => {
    const flag = scene.flag(time, circle);
    if (!(flag & THERE)) return;
    const pixels = Math.max(radius * scale, least);
    for (const [u, v] of images(...scene.point(time, 2 * circle), pixels / scale)) {
      context.fillStyle = shade(color);
      disc(context, u, v, pixels);
      if (flag & FLASH) ring(context, u, v, pixels, Math.max(2 * point, 0.25 * pixels), ink("flash"));
      if (of === agent && of >= 0) {
        ring(context, u, v, pixels + 3 * point, 4 * point, ink("world"));
        ring(context, u, v, pixels + 3 * point, 2 * point, ink("ink"));
      }
    }
  });
  for (const { of, color, k: at } of arrows) {
    if (of >= 0 && !scene.isThere(time, of)) continue;
    const [dx, dy] = scene.point(time, at + 2);
    const length = Math.hypot(dx, dy) * scale;
    if (length < 3 * point) continue;
    context.strokeStyle = context.fillStyle = color < 0 ? ink("arrow") : shade(color);
    for (const [u, v] of images(...scene.point(time, at), length / scale)) arrow(context, u, v, dx * scale, -dy * scale, length, point);
  }
  if (!inner) border(context, scene, view, ink);
}

function disc(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

function ring(context, x, y, radius, width, color) {
  context.strokeStyle = color;
  context.lineWidth = width;
  context.beginPath();
  context.arc(x, y, Math.max(radius - width / 2, width / 2), 0, 2 * Math.PI);
  context.stroke();
}

function arrow(context, x, y, dx, dy, length, point) {
  const wide = Math.min(Math.max(length / 4, 2.5 * point), 8 * point), neck = Math.min(1.4 * wide, length);
  const [ax, ay] = [dx / length, dy / length];
  const [hx, hy] = [x + dx, y + dy], [bx, by] = [hx - neck * ax, hy - neck * ay];
  context.lineWidth = Math.max(point, wide / 3);
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(bx, by);
  context.stroke();
  context.beginPath();
  context.moveTo(hx, hy);
  context.lineTo(bx - ay * wide * 0.55, by + ax * wide * 0.55);
  context.lineTo(bx + ay * wide * 0.55, by - ax * wide * 0.55);
  context.fill();
}

function grid(context, scene, view, ink) {
  if (view.scale < 6 * view.ratio) return;
  context.strokeStyle = ink("grid");
  context.lineWidth = view.ratio;
  context.beginPath();
  for (let k = 1; k < scene.width; k++) context.moveTo(view.X(k), view.Y(0)), context.lineTo(view.X(k), view.Y(scene.height));
  for (let k = 1; k < scene.height; k++) context.moveTo(view.X(0), view.Y(k)), context.lineTo(view.X(scene.width), view.Y(k));
  context.stroke();
}

/** Walls where the world ends; fine lines where it begins anew. */
function border(context, scene, view, ink) {
  const side = (wraps, x1, y1, x2, y2) => {
    context.strokeStyle = ink(wraps ? "grid" : "edge");
    context.lineWidth = (wraps ? 1 : 3) * view.ratio;
    context.beginPath();
    context.moveTo(view.X(x1), view.Y(y1));
    context.lineTo(view.X(x2), view.Y(y2));
    context.stroke();
  };
  for (const x of [0, scene.width]) side(scene.wrap[0], x, 0, x, scene.height);
  for (const y of [0, scene.height]) side(scene.wrap[1], 0, y, scene.width, y);
}
