"""T8: decoders see no later token and are of one size, no text leaks, and the verdict can fail."""

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cli import is_one_line
from hypothesis import given
from hypothesis import strategies as st

from train.cli import main
from train.theory import corpus, language
from train.theory.corpus import Text, Tokens, bigram, encoded, standard_library, tokenizer, tokens
from train.theory.decoder import Decoder, Size, matched
from train.theory.experiment import Effort, judged
from train.theory.language import KINDS, PRESETS, QUICK, apart
from train.theory.learning import n_learned
from train.theory.next_token import Preset, held_out

SMALL = Size(vocabulary=20, window=12, width=16, layers=2, heads=2)
TINY = Preset(256, 8, 16, 1, 2, 4, 1024, 800, 1e-2)
LINES = "".join(f"line {k} is {k * k}\n" for k in range(2000))


def decoder(kind, size=SMALL):
    torch.manual_seed(0)
    return Decoder(kind, size, matched(kind, size)).double()


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_no_later_token_changes_an_earlier_logit(kind):
    model = decoder(kind)
    x = torch.randint(20, (3, 12), generator=torch.Generator().manual_seed(1))
    before = model(x)
    for at in (0, 5, 11):
        other = x.clone()
        other[:, at] = (x[:, at] + 1) % 20
        after = model(other)
        assert torch.equal(after[:, :at], before[:, :at])
        assert (after[:, at:] != before[:, at:]).any(-1).all(), "those behind see it"
    torch.testing.assert_close(model(x[:, :7]), before[:, :7], msg="nor does there being any")


@pytest.mark.parametrize("preset", [QUICK, *PRESETS.values()], ids=["quick", *PRESETS])
def test_all_kinds_have_the_same_parameters(preset):
    size = Size(preset.vocabulary, preset.window, preset.width, preset.layers, preset.heads)
    with torch.device("meta"):
        numbers = [n_learned(Decoder(kind, size, matched(kind, size))) for kind in [*KINDS, "none"]]
    assert max(numbers) <= 1.005 * min(numbers)


def test_files_of_the_library_are_learned_or_held_out(tmp_path):
    names = [f"m{k:02}.py" for k in range(25)]
    left_out = ["test/a.py", "site-packages/b.py", "m/tests/c.py", "encodings/d.py", "m.txt"]
    for name in [*names, *left_out]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = standard_library(tmp_path, 10**6)
    assert found.held_out.split() == names[9::10]
    assert sorted(found.train.split() + found.held_out.split()) == names
    short = standard_library(tmp_path, 100)
    assert (len(short.train), len(short.held_out)) == (90, 10)


def test_the_end_of_a_file_is_held_out(tmp_path):
    path = tmp_path / "text"
    path.write_text(LINES)
    found = corpus.text(str(path), 10**6)
    assert found.train + found.held_out == LINES
    assert found.train.endswith("\n")
    assert len(found.held_out) == pytest.approx(len(LINES) / 10, rel=0.01)
    assert len("".join(corpus.text(str(path), 500)[1:])) == 500


def test_tokens_are_learned_from_what_is_not_held_out():
    found = tokens(Text("", "abab" * 99, "cdcd" * 99), 258)
    assert len(found.train) < 4 * 99
    assert len(found.held_out) == 4 * 99


@pytest.fixture(scope="module")
def made():
    return tokenizer(LINES, 400)


@given(st.text())
def test_any_text_comes_back(made, text):
    ids = encoded(made, text)
    assert ids.dtype == np.int32
    assert made.decode(ids.tolist()) == text


def test_a_bigram_tells_what_the_last_token_tells():
    rng = np.random.default_rng(0)
    noise, turns = rng.integers(10, size=10_000), np.arange(10_000) % 2
    for train, right in ((noise, 10), (turns, 1)):
        assert bigram(Tokens(train, train, 10), train[:-1], train[1:]) == pytest.approx(right, rel=0.02)
    # What was never seen: the smallest m gives the followers of 1 least, the prior of 2 is 1 of 7.
    few = Tokens(np.array([0, 1, 0, 1]), np.zeros(1), 3)
    assert bigram(few, np.array([2]), np.array([2])) == pytest.approx(7)
    assert bigram(few, np.array([0]), np.array([1])) == pytest.approx(1 / ((2 + 3 / 7) / 3))


def runs(**perplexities):
    about = {"parameters": 1000, "speed": 1.0, "memory": None}
    return {kind: [{"perplexity": value, **about} for value in of] for kind, of in perplexities.items()}


def orders(found, judge=True):
    return [f.passed for f in language._findings(found, 99.0, judge) if "gap" in f.quantity]


def test_an_order_needs_intervals_that_do_not_overlap():
    assert orders(runs(ha=[5, 5.1], hfa=[7, 7.1], sa=[9, 9.1])) == [True, True]
    assert orders(runs(ha=[5, 5.1], hfa=[5.1, 5.2], sa=[4, 4.1])) == [False, False]
    assert orders(runs(ha=[5, 9], hfa=[7, 7.1], sa=[9, 9.1])) == [False, True]
    assert orders(runs(ha=[5, math.nan], hfa=[7, 7.1], sa=[9, 9.1])) == [False, True]
    assert orders(runs(ha=[5, 5.1], hfa=[7, 7.1], sa=[9, 9.1]), judge=False) == [None, None]
    assert orders(runs(hfa=[7, 7.1], sa=[9, 9.1])) == [True]
    assert apart([1.0, 1.0], [3.0, 3.0]) == 2


def test_other_parameters_fail():
    found = runs(hfa=[7], sa=[9])
    found["sa"][0]["parameters"] = 1021
    assert [f.passed for f in language._findings(found, 99.0, False) if "difference" in f.quantity] == [False]


def test_windows_that_are_told_lie_within_the_text():
    data = Tokens(np.arange(9), np.arange(900), 900)
    found = held_out(data, TINY)
    assert found.shape == (100, 9)
    assert (found[0, 0], found[-1, -1]) == (0, 899)


def test_the_whole_of_it_in_small(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "small", TINY)
    path = tmp_path / "text"
    path.write_text(LINES)
    out = language.run(Effort(False, 2, 1, data=str(path), preset="small"), lambda *_: None)
    assert set(out.figures) == {"perplexity"}
    assert [f.passed is None for f in out.findings if "gap" in f.quantity] == [False, False]
    json.dumps([judged(f) for f in out.findings] + [out.data], allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["sa", "none"])
def test_what_is_broken_fails(module, monkeypatch):
    monkeypatch.setattr(language, "QUICK", QUICK._replace(kinds=("sa",)))
    out = language.run(Effort(True, 1, 1, {"sa": module}), lambda *_: None)
    assert out.passed == (module == "sa")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "text: No such file"),
        (b"caf\xe9", "text: is not text in UTF-8"),
        (b"a\0b", "text: is not text, it holds NUL characters"),
        (b"", "text: is too small, 0 tokens to learn and 0 held out"),
        (
            LINES[:1000].encode(),
            "text: is too small, 888 tokens to learn and 112 held out, of 37,500 and 30,000",
        ),
    ],
)
def test_bad_data_are_one_line(content, message, tmp_path, capsys):
    path = tmp_path / "text"
    if content is not None:
        path.write_bytes(content)
    arguments = ["theory", "language", "--quick", "--data", str(path), "--out", str(tmp_path / "out")]
    is_one_line(main(arguments), capsys.readouterr().err, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "huge"), "--preset must be one of small, gpt2-small, not 'huge'"),
        (
            ("--preset", "gpt2-small"),
            "--preset gpt2-small needs a GPU that torch can use; small does without",
        ),
        (("--preset", "small", "--quick"), "give --quick or --preset, not both"),
        (("--data", "hf:name"), "--data hf:name needs the package datasets: pip install"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setitem(sys.modules, "datasets", None)
    status = main(["theory", "language", *arguments, "--out", str(tmp_path / "out")])
    is_one_line(status, capsys.readouterr().err, message)


def test_a_data_set_is_read_as_far_as_it_is_needed(monkeypatch):
    asked = []

    def load_dataset(*names, **options):
        asked.append((*names, options))
        return ({"text": f"document {k}"} if k < 50 else {"words": 1} for k in range(100))

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    found = corpus.text("hf:owner/name:part", 100)
    assert found.train + found.held_out == "\n".join(f"document {k}" for k in range(10))
    assert asked == [("owner/name", "part", {"split": "train", "streaming": True})]
    with pytest.raises(ValueError, match="hf:name: must have a column text of strings, not words"):
        corpus.text("hf:name", 10**6)


def test_without_the_package_tokens_are_not_made(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ValueError, match=r"pip install 'interact-env\[language\]'"):
        tokenizer("", 300)
