// The page from top to bottom.

document.title = CONTENT.headline;
$("#title").textContent = CONTENT.title;
$("#headline").textContent = CONTENT.headline;
$("#lead").textContent = CONTENT.lead;
fill($("#findings"), CONTENT.findings.map(([world, text]) => h("p", { class: "finding" }, h("b", {}, world), " ", text)));
for (const place of $$(".measure")) {
  const show = () => (place.textContent = CONTENT.labels[state.measure].replace(/^./, (sign) => sign.toUpperCase()));
  watch(show);
  show();
}
function goal() {
  if (!CONTENT.reaches.length) return;
  $("#goal").hidden = false;
  const percent = (part) => `${Math.round(100 * part)}%`;
  const bar = (reach) => {
    const filled = h("span", { class: "filled" }), span = h("span", { class: "span" }), bar = h("span", { class: "bar", "aria-hidden": "true" }, filled, span);
    const at = (part) => `${(100 * Math.min(Math.max(part, 0), 1.2)) / 1.2}%`;
    bar.style.setProperty("--goal", at(CONTENT.goal));
    filled.style.width = at(reach.score);
    filled.style.background = colorOf(reach.policy);
    watch((changed) => changed.includes("theme") && (filled.style.background = colorOf(reach.policy)));
    Object.assign(span.style, { left: at(reach.low), right: `calc(100% - ${at(reach.high)})` });
    return bar;
  };
  const line = (reach) => h("li", { class: "reach" },
    h("span", { class: "named" }, mark(reach.policy), h("span", {}, reach.policy, h("small", {}, `trained with ${dashed(reach.train_count)}`))),
    bar(reach),
    h("span", { class: "number" }, percent(reach.score)),
    h("span", { class: "number" }, reach.collisions === null ? "" : `${fixed(reach.collisions, 2)} ×`),
    h("span", { class: reach.met ? "met" : "missed", title: reach.met ? "reached" : "missed" }, reach.met ? "reached" : "missed"));
  fill($("#goal-rows"), worlds.map((world) => {
    const here = CONTENT.reaches.filter((reach) => reach.world === world);
    return here.length
      ? [h("div", { class: "panel" }, h("h3", {}, world, h("small", {}, `among ${here[0].test_count.toLocaleString("en")} agents`)), h("ul", { class: "reaches" }, here.map(line)))]
      : [];
  }));
}

/** The link to the section that is being read. */
function follow() {
  const links = new Map($$("nav a").map((link) => [link.hash.slice(1), link]));
  const sections = $$("main > section");
  for (const section of sections) if (section.hidden) links.get(section.id).hidden = true;
  const show = () => {
    const now = sections.filter((section) => !section.hidden && section.getBoundingClientRect().top < innerHeight / 3).at(-1);
    for (const [id, link] of links) {
      if (id === now?.id && !link.hasAttribute("aria-current")) {
        link.setAttribute("aria-current", "true");
        const bar = link.parentElement;
        bar.scrollLeft = link.offsetLeft - bar.offsetLeft - bar.clientWidth / 3;
      } else if (id !== now?.id) link.removeAttribute("aria-current");
    }
  };
  addEventListener("scroll", show, { passive: true });
  show();
}

function about() {
  const { commands, facts, failed, grid } = CONTENT.about;
  const missing = CONTENT.replays.filter((one) => !one.record);
  const list = (title, texts) => (texts.length ? [h("h3", {}, title), h("ul", {}, texts.map((text) => h("li", {}, text)))] : []);
  const code = (title, text) => (text ? [h("details", {}, h("summary", {}, title), h("pre", { tabindex: "0" }, text))] : []);
  fill($("#about"),
    facts.length
      ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Versions" },
        h("table", {}, h("thead", {}, h("tr", {}, ["what", "value", "runs"].map((text) => h("th", { scope: "col" }, text)))),
          h("tbody", {}, facts.map(([name, value, n]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, h("code", {}, value)), h("td", { class: "number" }, String(n)))))))
      : [],
    code("The grid", grid),
    code(`Commands (${commands.length})`, commands.join("\n")),
    list("Runs that failed", failed),
    list("Not replayed", [...new Set(missing.map((one) => `${one.policy} in ${one.world}: ${one.reason}`))]));
}

const learned = CONTENT.looks.filter((look) => look.learned).map((look) => look.name);
legend($("#transfer .legend"), CONTENT.looks.map((look) => look.name));
for (const place of $$("#seeds .legend, #learning .legend")) legend(place, learned);
$("#seeds").hidden = !CONTENT.charts.statistics.length;
controls($("#seeds-controls"), ["arena", "train"]);
controls($("#transfer-controls"), ["measure", "arena", "train"]);
controls($("#heat-controls"), ["world", "arena"]);
controls($("#learning-controls"), ["train"]);
goal();
tables();
about();
replays();
follow();
await charts();
document.documentElement.dataset.ready = "true";
