"""The report in a real browser without a head, read and used as a person would."""

import base64
import io
import json
import re
import shutil

import benchmarks
import numpy as np
import pytest
import torch
from PIL import Image

from train import checkpoint, evaluate
from train.benchmark import report
from train.player import Player
from train.policy import joint_observation

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium"),
]
WAIT = 10_000  # milliseconds for anything
LARGEST = 5_000_000  # bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = benchmarks.made(tmp_path_factory.mktemp("benchmark"))
    report.write(made)
    return made


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=WAIT * 3)
        yield made
        made.close()


@pytest.fixture
def opened(browser, folder):
    """Opens the report; at the end nothing may have gone wrong in it, or been asked for."""
    wrong, contexts = [], []
    file = (folder / "report.html").as_uri()

    def open_page(**options):
        options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
        contexts.append(context)
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request", lambda asked: asked.url.startswith((file, "data:", "blob:")) or wrong.append(asked.url)
        )
        page.route(
            "**/*", lambda route: route.continue_() if route.request.url.startswith(file) else route.abort()
        )
        page.goto(file)
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def page(opened):
    return opened()


def picture(page):
    """What the replay's canvas shows, (height, width, 3)."""
    url = page.locator("#scene").evaluate("canvas => canvas.toDataURL()")
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    return np.asarray(image.convert("RGB")).astype(int)


def same(one, other):
    return one.shape == other.shape and bool((one == other).all())


def violet(page):
    """How many pixels are more red and blue than green, as lines of attention are."""
    shown = picture(page)
    return int(((shown[..., 0] - shown[..., 1] > 20) & (shown[..., 2] - shown[..., 1] > 20)).sum())


def choose(page, world, policy, n_agents):
    for name, value in (("world", world), ("policy", policy), ("n_agents", str(n_agents))):
        page.select_option(f"#replay-{name}", value)
    page.wait_for_function(
        "name => document.querySelector('#replay-caption').textContent.startsWith(name)", arg=policy
    )


def hover(page, n_agents, at=None):
    """Move the mouse over the canvas until an agent tells its attention; that agent."""
    box = page.locator("#scene").bounding_box()
    side = int(np.ceil(np.sqrt(n_agents))) * 6
    spots = [(i, j) for i in range(1, side) for j in range(1, side)]
    for i, j in spots:
        page.mouse.move(box["x"] + box["width"] * i / side, box["y"] + box["height"] * j / side)
        title = page.inner_text("#inside-title")
        if title.startswith("Agent") and page.locator("#weights tbody tr").count() > 1:
            return int(title.split()[1])
    raise AssertionError("no agent is under the mouse anywhere")


def told(page):
    """The numbers of the readout: (step, {other: [weight by layer and head]})."""
    found = page.evaluate(
        """() => {
          const table = document.querySelector("#weights table");
          const weight = ({ dataset }) => [dataset.layer, dataset.head, dataset.weight];
          const line = (tr) => [tr.dataset.agent, [...tr.cells].slice(1).map(weight)];
          return [table.dataset.step, [...table.tBodies[0].rows].map(line)];
        }"""
    )
    return int(found[0]), {
        int(other): [tuple(map(float, cell)) for cell in cells] for other, cells in found[1]
    }


def weights_of_torch(folder, world, policy_name, n_agents, step):
    """(layers, heads, L, L) of the network, in the episode that is replayed."""
    saved = checkpoint.load(benchmarks.run(folder, world, policy_name))
    policy = saved.policy()
    parameters = next(iter(evaluate.arenas(saved.env, saved.parameters).values()))
    batch = saved.batch(**{**parameters, "n_agents": n_agents})
    player = Player("", batch, evaluate.learned(policy), policy, 0)
    for _ in range(step):
        player.forward()
    seen = joint_observation(batch, "cpu")
    layers = policy.network.weights(seen["entities"], seen["mask"], seen.get("visible"))
    return torch.stack(layers)[:, 0].numpy()


def test_it_is_small_and_shows_every_figure(page, folder):
    assert (folder / "report.html").stat().st_size < LARGEST
    for kind, n in (("transfer", 3), ("heat", 4), ("statistics", 3), ("learning", 3)):
        charts = page.locator(f"[data-chart={kind}] .chart svg")
        assert charts.count() == n
        for k in range(n):
            assert charts.nth(k).locator("path").count() > 3
    assert page.title() == page.inner_text("h1") == "Trained with 8 agents, tested with 4 to 16"
    assert page.locator(".finding").count() == 3
    assert page.locator(".reach").count() == 3 * 3 + 1
    assert "it failed" in page.inner_text("#about")


def test_names_do_nothing(page):
    assert page.evaluate("window.taken") is None
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 3
    assert benchmarks.HARMFUL in page.inner_text("#transfer")
    page.hover("[data-chart=transfer] svg .mark-symbol path >> nth=0")
    page.wait_for_selector("#vg-tooltip-element.visible")
    page.select_option("#table-controls select >> nth=1", benchmarks.HARMFUL)
    assert page.evaluate("window.taken") is None


def test_what_a_script_could_ask_for_is_refused(browser, folder):
    page = browser.new_page()
    page.goto((folder / "report.html").as_uri())
    page.wait_for_selector("html[data-ready]", timeout=WAIT)
    found = page.evaluate("fetch('data:text/plain,x').then(() => 'allowed', () => 'refused')")
    assert found == "refused"
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.taken = 3";
          document.body.append(script);
        }"""
    )
    assert page.evaluate("window.taken") is None
    page.close()


def test_the_replay_plays_pauses_and_scrubs(page):
    choose(page, "colliding", "sa", 8)
    assert page.inner_text("#replay-facts") == "step 0 of 60"
    start = picture(page)
    page.click("#play")
    page.wait_for_function("() => Number(document.querySelector('#scrub').value) >= 2")
    page.click("#play")
    paused, step = picture(page), page.input_value("#scrub")
    assert not same(paused, start)
    page.wait_for_timeout(600)
    assert same(picture(page), paused)
    assert page.input_value("#scrub") == step
    page.locator("#scrub").fill("30")
    assert page.inner_text("#replay-facts").startswith("step 30 of 60 · reward")
    assert not same(picture(page), start)
    assert not same(picture(page), paused)
    page.locator("#scrub").fill("0")
    assert same(picture(page), start)


@pytest.mark.parametrize(
    ("world", "policy"),
    [
        ("colliding", "sa"),
        ("gravity", "sa_linear"),
        pytest.param("colliding", "sa_linear", marks=pytest.mark.long),
        pytest.param("gravity", "sa", marks=pytest.mark.long),
    ],
)
def test_attention_appears_on_hover_and_is_torchs(page, folder, world, policy):
    choose(page, world, policy, 16)
    page.locator("#scrub").fill("4")
    page.focus("#scene")
    page.keyboard.press("Escape")
    assert page.inner_text("#inside-title") == "Choose an agent to see its attention."
    before = violet(page)
    agent = hover(page, 16)
    assert violet(page) > before + 100, "lines"
    step, found = told(page)
    exact = weights_of_torch(folder, world, policy, 16, step)
    assert len(found) > 1
    for other, cells in found.items():
        for layer, head, weight in cells:
            assert abs(weight - exact[int(layer), int(head), agent, other]) <= 1e-5
    assert max(abs(weight) for cells in found.values() for *_, weight in cells) > 0.05
    before = picture(page)
    page.click("#maps canvas >> nth=1")
    page.mouse.move(0, 0)
    page.focus("#scene")
    assert not same(picture(page), before)
    assert page.get_attribute("#maps .map >> nth=1", "aria-pressed") == "true"


def test_a_policy_that_weighs_no_pairs_says_so(page):
    choose(page, "colliding", "none", 8)
    assert "weighs no pairs" in page.inner_text("#inside-title")
    assert page.locator("#maps canvas").count() == 0


def test_the_replay_by_keys_alone(page):
    choose(page, "colliding", "sa", 8)
    page.focus("#scene")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.input_value("#scrub") == "1"
    page.keyboard.press("End")
    assert page.input_value("#scrub") == "60"
    page.keyboard.press("Home")
    page.keyboard.press("Escape")
    page.focus("#scene")
    page.keyboard.press("ArrowDown")
    seen = [page.inner_text("#inside-title")]
    for _ in range(7):
        page.keyboard.press("Tab")
        seen.append(page.inner_text("#inside-title"))
    assert seen == [f"Agent {k} at step 0" for k in range(8)]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "play", "after the last agent it goes on"
    page.keyboard.press("Enter")
    page.wait_for_function("() => Number(document.querySelector('#scrub').value) >= 1")
    page.focus("#scene")
    page.keyboard.press(" ")
    assert page.get_attribute("#play", "aria-label") == "Play"


def test_every_control_is_reached_by_tab(page):
    page.keyboard.press("Tab")
    reached = set()
    for _ in range(400):
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.innerText"))
        if page.evaluate("document.activeElement === document.body"):
            break
        page.keyboard.press("Tab")
    assert {
        "theme",
        "scene",
        "play",
        "scrub",
        "replay-policy",
        "Copy Markdown",
        "Copy LaTeX",
        "SVG",
        "PNG",
    } <= reached


def test_tables_sort_and_copy(page):
    page.select_option("#table-controls select >> nth=0", "reward")
    head = page.locator("#table-rows thead th", has_text="16")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    column = page.locator("#table-rows tbody tr").evaluate_all(
        "rows => rows.map(row => row.cells[4].firstChild?.textContent ?? '')"
    )
    numbers = [float(text.replace("\u2212", "-")) for text in column if text]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) > 4
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"

    page.click("#table-controls >> text=Copy Markdown")
    page.wait_for_function("() => document.querySelector('#told').textContent === 'Markdown copied'")
    markdown = page.evaluate("navigator.clipboard.readText()")
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert lines[0] == "| policy | trained with | 4 | 8 | 16 |"
    assert lines[1] == "|---|---|---:|---:|---:|"
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, "also of a name with signs"
    assert re.search(r"\*\*0\.900 \[0\.\d{3}, 0\.\d{3}\]\*\*", markdown)
    assert "\\<script\\>" in markdown

    page.click("#table-controls >> text=Copy LaTeX")
    page.wait_for_function("() => document.querySelector('#told').textContent === 'LaTeX copied'")
    latex = page.evaluate("navigator.clipboard.readText()")
    assert "\\begin{tabular}{llrrr}" in latex
    assert "policy & trained with & 4 & 8 & 16 \\\\" in latex
    assert "sa\\_linear" in latex
    assert "\\textless{}script\\textgreater{}" in latex
    assert "\\&" in latex


@pytest.mark.parametrize("kind", ["SVG", "PNG"])
@pytest.mark.parametrize("figure", ["transfer", "heat", "statistics", "learning"])
def test_figures_are_saved(page, tmp_path, kind, figure):
    with page.expect_download() as waiting:
        page.click(f"[data-chart={figure}] .saves >> nth=0 >> text={kind}")
    path = tmp_path / "figure"
    waiting.value.save_as(path)
    data = path.read_bytes()
    assert waiting.value.suggested_filename.endswith(f".{kind.lower()}")
    assert data.startswith(b"<svg" if kind == "SVG" else b"\x89PNG")
    assert len(data) > 3000
    if kind == "SVG" and figure != "heat":
        assert b"sa_linear" in data, "with a legend"


def test_the_replays_picture_is_saved(page):
    with page.expect_download() as waiting:
        page.click("#shot")
    assert waiting.value.suggested_filename.endswith(".png")


def luminance(page, selector, what):
    numbers = re.findall(r"[\d.]+", page.locator(selector).first.evaluate(f"e => getComputedStyle(e).{what}"))
    return sum(map(float, numbers[:3])) / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light(opened, scheme):
    page = opened(color_scheme=scheme)
    first = picture(page)
    lights = [luminance(page, "body", "backgroundColor")]
    page.click("#theme")
    page.wait_for_timeout(500)
    lights.append(luminance(page, "body", "backgroundColor"))
    dark, light = lights if scheme == "dark" else reversed(lights)
    assert dark < 60
    assert light > 200
    assert not same(picture(page), first)
    label = luminance(page, "[data-chart=transfer] svg text", "fill")
    assert abs(label - lights[1]) > 80, "axes can be read"


def test_on_a_phone(opened):
    page = opened(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=3
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    rights = page.locator("main > section > *").evaluate_all(
        "all => all.map(e => e.getBoundingClientRect().right)"
    )
    assert max(rights) <= 390
    canvas = page.locator("#scene")
    canvas.scroll_into_view_if_needed()
    assert canvas.evaluate("e => e.width / e.clientWidth") == pytest.approx(3, abs=0.02)
    choose(page, "colliding", "sa", 8)
    page.keyboard.press("Escape")
    box, titles = canvas.bounding_box(), set()
    for i in range(1, 8):
        for j in range(1, 8):
            page.touchscreen.tap(box["x"] + box["width"] * i / 8, box["y"] + box["height"] * j / 8)
            titles.add(page.inner_text("#inside-title"))
    assert len([title for title in titles if title.startswith("Agent")]) > 2


def test_a_name_sets_a_policy_off_in_all_figures(page):
    svg = page.locator("[data-chart=transfer] svg").first
    before = svg.evaluate("e => e.outerHTML")
    page.click(".legend >> nth=0 >> text=sa_linear")
    page.wait_for_function(
        "before => document.querySelector('[data-chart=transfer] svg').outerHTML !== before", arg=before
    )
    assert page.get_attribute(".legend >> nth=1 >> button >> nth=1", "aria-pressed") == "true"


def test_the_content_is_plain_json(folder):
    text = (folder / "report.html").read_text()
    content = json.loads(re.search(r'id="content">(.*?)</script>', text)[1])
    assert {look["name"] for look in content["looks"]} >= {"sa", "sa_linear", "none", "random", "oracle"}
    assert "unsafe" not in re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
