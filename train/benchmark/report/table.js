// Tables that sort, and copy as Markdown and LaTeX.

const DIGITS = 3;
const plain = (cell) => (cell === null || cell === undefined ? "" : typeof cell === "object" ? cell.text : String(cell));

/**
 * A table in `place`, with its buttons in `bar`.
 * heads: [{ text, number }]; lines: [[cell]]; a cell is a text, a number, or
 * { text, value, after, best, node }: what is copied, sorted by, shown small behind, bold, and shown instead.
 */
class Table {
  constructor(place, bar, title) {
    Object.assign(this, { place, title, by: null, down: false });
    const button = (what, make) =>
      h("button", { type: "button", class: "plain", onclick: () => copy(make(), what) }, `Copy ${what}`);
    bar?.append(button("Markdown", () => this.markdown()), button("LaTeX", () => this.latex()));
  }

  show(heads, lines) {
    Object.assign(this, { heads, lines });
    if (this.by !== null && this.by >= heads.length) this.by = null;
    this.render();
  }

  sorted() {
    if (this.by === null) return this.lines;
    const value = (line) => line[this.by]?.value ?? (typeof line[this.by] === "object" ? null : line[this.by]);
    const sign = this.down ? -1 : 1;
    return this.lines.toSorted((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === null || a === undefined || b === null || b === undefined) return (a ?? null) === null ? 1 : -1;
      return sign * (typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
    });
  }

  sort(column) {
    this.down = this.by === column ? !this.down : Boolean(this.heads[column].number);
    this.by = column;
    this.render();
    $$("th button", this.place)[column].focus();
  }

  render() {
    const heads = this.heads.map(({ text, number }, k) => {
      const order = this.by !== k ? "none" : this.down ? "descending" : "ascending";
      const button = h("button", { type: "button", onclick: () => this.sort(k) }, text);
      return h("th", { scope: "col", class: number ? "number" : null, "aria-sort": order }, button);
    });
    const lines = this.sorted().map((line) =>
      h("tr", {}, line.map((cell, k) => {
        const number = this.heads[k].number ? "number" : "";
        const shown = cell?.node ?? plain(cell?.shown ?? cell);
        const after = cell?.after ? h("small", {}, cell.after) : null;
        return h(k ? "td" : "th", { scope: k ? null : "row", class: `${number} ${cell?.best ? "best" : ""}` }, shown, after);
      })));
    fill(this.place, h("table", {}, h("caption", { class: "aside" }, this.title()), h("thead", {}, h("tr", {}, heads)),
      h("tbody", {}, lines)));
  }

  texts(bold, escape) {
    const text = (cell) => (cell?.best ? bold(escape(plain(cell))) : escape(plain(cell)));
    return [this.heads.map((head) => escape(head.text)), ...this.sorted().map((line) => line.map(text))];
  }

  markdown() {
    const escape = (text) => text.replace(/[\\|`*_<>]|\](?=\()/g, "\\$&").replace(/\s+/g, " ");
    const [heads, ...lines] = this.texts((text) => `**${text}**`, escape);
    const row = (cells) => `| ${cells.join(" | ")} |`;
    const rule = `|${this.heads.map(({ number }) => (number ? "---:" : "---")).join("|")}|`;
    return [this.title(), "", row(heads), rule, ...lines.map(row), ""].join("\n");
  }

  latex() {
    const special = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}" };
    const escape = (text) => text.replace(/[\\~^<>]|[&%$#_{}]/g, (sign) => special[sign] ?? `\\${sign}`).replace(/–/g, "--");
    const [heads, ...lines] = this.texts((text) => `\\textbf{${text}}`, escape);
    const row = (cells) => `    ${cells.join(" & ")} \\\\`;
    const columns = this.heads.map(({ number }) => (number ? "r" : "l")).join("");
    return [
      "% needs \\usepackage{booktabs}",
      "\\begin{table}",
      `  \\caption{${escape(this.title())}}`,
      `  \\begin{tabular}{${columns}}`,
      "    \\toprule", row(heads), "    \\midrule", ...lines.map(row), "    \\bottomrule",
      "  \\end{tabular}",
      "\\end{table}",
      "",
    ].join("\n");
  }
}

const fixed = (number, digits = DIGITS) => (number === null ? "" : number.toFixed(digits).replace("-", "−"));
const named = (policy) => ({ text: policy, value: policy, node: h("span", { class: "named" }, mark(policy), policy) });
const dashed = (train) => train.replace("-", "–");

/** Every policy at every number of agents, of one measure, world and arena. */
function results() {
  const here = (row) =>
    row.world === state.world && row.measure === state.measure && (row.arena === state.arena || row.arena === "as trained");
  const found = DATA.cells.filter(here);
  const tested = [...new Set(found.map((row) => row.test))].sort((a, b) => a - b);
  const keys = [...new Map(found.map((row) => [JSON.stringify([row.policy, row.train]), row])).values()];
  const less = state.measure === "collisions" ? -1 : 1;
  const best = new Map(tested.map((n) => {
    const those = found.filter((row) => row.test === n && LOOKS.get(row.policy)?.learned);
    return [n, Math.max(...those.map((row) => less * row.mean))];
  }));
  const order = [...LOOKS.keys()];
  keys.sort((a, b) => order.indexOf(a.policy) - order.indexOf(b.policy) || trains.indexOf(a.train) - trains.indexOf(b.train));
  const lines = keys.map(({ policy, train }) => [
    named(policy),
    { text: dashed(train), value: Number.parseInt(train, 10) || 0 },
    ...tested.map((n) => {
      const row = found.find((one) => one.policy === policy && one.train === train && one.test === n);
      if (!row) return null;
      const interval = row.low === row.high ? "" : `[${fixed(row.low)}, ${fixed(row.high)}]`;
      const learned = LOOKS.get(policy)?.learned;
      return {
        text: `${fixed(row.mean)} ${interval}`.trim(), shown: fixed(row.mean), value: row.mean, after: interval,
        best: learned && less * row.mean === best.get(n),
      };
    }),
  ]);
  return [[{ text: "policy" }, { text: "trained with" }, ...tested.map((n) => ({ text: n.toLocaleString("en"), number: true }))], lines];
}

function tables() {
  const bar = $("#table-controls");
  controls(bar, ["measure", "world", "arena"]);
  const arena = () => (arenas.length > 1 ? `, ${state.arena}` : "");
  const table = new Table($("#table-rows"), bar, () => `${CONTENT.labels[state.measure]}, ${state.world}${arena()}, by agents tested`);
  const show = () => table.show(...results());
  watch((changed) => ["measure", "world", "arena"].some((name) => changed.includes(name)) && show());
  show();

  const costs = new Table($("#cost-rows"), $("#cost-controls"), () => "Parameters and speed of training");
  const number = (value, digits = 0) => ({
    text: value === null ? "" : value.toLocaleString("en", { maximumFractionDigits: digits }), value,
  });
  costs.show(
    [{ text: "policy" }, { text: "world" }, { text: "parameters", number: true }, { text: "training, minutes", number: true },
      { text: "agent steps/s", number: true }, { text: "runs", number: true }],
    CONTENT.costs.map((cost) => [
      named(cost.policy), cost.world, number(cost.parameters), number(cost.seconds / 60, 1), number(cost.speed), number(cost.runs),
    ]),
  );
}
