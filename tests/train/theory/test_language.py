"""T8: models of equal size that do not look ahead, text that is cut clean, and verdicts that can fail."""

import math

import pytest
import torch
from cli import is_one_line

from train.cli import main
from train.theory import language
from train.theory.corpus import corpus, text
from train.theory.decoder import Decoder, Shape, equal_hidden, n_parameters
from train.theory.experiment import Effort
from train.theory.language import KINDS, QUICK, Job, learned, perplexity

SHAPE = Shape(16, 24, 4, 2)
TINY = QUICK._replace(shape=SHAPE, vocabulary=300, characters=200_000, batch=8, steps=60)
NAMES = (*KINDS, "none")


@pytest.mark.parametrize("name", NAMES)
def test_no_model_looks_ahead(name):
    torch.manual_seed(0)
    model = Decoder(name, SHAPE, 50, 32)
    tokens = torch.randint(50, (3, 16))
    changed = tokens.clone()
    changed[:, 9:] = (changed[:, 9:] + 7) % 50
    torch.testing.assert_close(model(tokens)[:, :9], model(changed)[:, :9])
    assert (model(tokens)[:, 9:] - model(changed)[:, 9:]).abs().max() > 1e-3


@pytest.mark.parametrize("name", KINDS)
def test_all_but_none_look_back(name):
    torch.manual_seed(0)
    model = Decoder(name, SHAPE, 50, 32)
    tokens = torch.randint(50, (3, 16))
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 7) % 50
    assert (model(tokens)[:, -1] - model(changed)[:, -1]).abs().max() > 1e-6


def test_models_have_equally_many_parameters():
    sizes = [n_parameters(name, SHAPE, 300, equal_hidden(name, SHAPE, 300, 30_000)) for name in NAMES]
    assert max(sizes) / min(sizes) < 1.01
    with pytest.raises(ValueError, match="parameters at the least, and must have 100"):
        equal_hidden("sa", SHAPE, 300, 100)


def test_what_is_held_out_teaches_nothing():
    """No merge of byte pairs, and no token, comes from the end of the text."""
    first, last = "one two three " * 4000, "\nzyxwvut zyxwvut zyxwvut zyxwvut" * 5
    found = corpus(first + last, 400, least=1)
    again = corpus(first + last.replace("zyxwvut", "tuvwxyz"), 400, least=1)
    assert torch.equal(found.train, again.train)
    assert found.vocabulary == again.vocabulary
    assert len(found.held_out) > len(last) / 2  # what was never seen is left as bytes


def test_the_standard_library_is_a_text():
    found = text("", 10**7)
    assert len(found) > 3_000_000
    assert "def " in found[:100_000]


def test_perplexity_of_a_model_that_knows_nothing_is_the_vocabulary():
    class Even(torch.nn.Module):
        def forward(self, tokens):
            return torch.zeros(*tokens.shape, 300)

    tokens = torch.randint(300, (1000,))
    assert perplexity(Even(), tokens, TINY) == pytest.approx(300, rel=1e-5)


@pytest.mark.slow
def test_a_model_learns():
    found = learned(Job("sa", "sa", TINY, "", 0))
    assert found["perplexity"] < 150
    assert found["tokens per second"] > 0
    assert found["peak MB"] > 0


def test_verdicts_can_fail_and_pass():
    def runs(**perplexities):
        one = {"parameters": 1, "tokens per second": 1.0, "peak MB": 1.0}
        return {
            name: [{**one, "perplexity": value + 0.01 * k * order} for k in range(3)]
            for order, (name, value) in enumerate(perplexities.items())
        }

    def passed(found):
        return [f.passed for f in language._findings(found, in_order=True) if f.target]

    assert passed(runs(ha=5.0, hfa=6.0, sa_hfa=6.5, sa=7.0, none=10.0)) == [True] * 6
    assert passed(runs(ha=7.0, hfa=6.0, sa_hfa=6.5, sa=5.0, none=10.0)) == [True] * 4 + [False] * 2
    assert not any(passed(runs(ha=10.0, hfa=10.0, sa_hfa=10.0, sa=10.0, none=10.0)))


@pytest.mark.slow
def test_what_does_not_look_back_fails(monkeypatch):
    """No interaction in place of each: none gains anything."""
    monkeypatch.setattr(language, "QUICK", TINY)
    broken = Effort(True, 1, 1, dict.fromkeys(KINDS, "none"))
    outcome = language.run(broken, lambda *_: None)
    assert [f.passed for f in outcome.findings if f.target] == [False] * len(KINDS)
    assert all(math.isfinite(f.estimate[0]) for f in outcome.findings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"\xff\xfe\x00\x01", "is not text"),
        (b"a\0b", "is not text"),
        (b"too short", "the text is too small"),
        (b"", "the text is too small"),
    ],
)
def test_a_text_that_cannot_be_is_one_line(content, message, tmp_path, capsys):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    status = main(["theory", "language", "--quick", "--data", str(path), "--out", str(tmp_path / "out")])
    is_one_line(status, capsys.readouterr().err, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("language", "--preset", "gpt3"), "--preset must be one of gpt2-small, not 'gpt3'"),
        (("length", "--preset", "gpt2-small"), "--preset is for language, not length"),
        (("length", "--data", "x.csv"), "--data for language, not length"),
        (("language", "--env", "n_body_v0"), "--env are for versatility"),
    ],
)
def test_options_of_others_are_one_line(arguments, message, tmp_path, capsys):
    status = main(["theory", *arguments, "--out", str(tmp_path / "out")])
    is_one_line(status, capsys.readouterr().err, message)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_preset_for_a_gpu_says_so(tmp_path, capsys):
    status = main(["theory", "language", "--preset", "gpt2-small", "--out", str(tmp_path / "out")])
    is_one_line(status, capsys.readouterr().err, "--preset gpt2-small needs a GPU")
