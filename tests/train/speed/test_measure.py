"""The table of speed: what is computed from the times, and that all is in it; times are not asserted."""

import json
import math
import mmap
from importlib.util import find_spec

import pytest
import torch
from cli import is_one_line
from rich.console import Console

from train.cli import main
from train.speed import limits, measure, mlp, peers, stepping, training
from train.speed.measure import Case, Figure, Limits

LIMITS = {("cpu", 1): Limits(copy=1e9, products=2e9)}


def figure(seconds, **about):
    given = {"what": "w", "worlds": 10, "agents": 4, "threads": 1, "make": lambda: None, **about}
    return Figure(Case(**given), seconds, 5e6, 0.5)


def test_rates_growth_and_shares_by_hand():
    few, many = figure([2.0, 1.0, 4.0], steps=5), figure([32.0], agents=16, grows_from=4)
    assert few.median == 2
    assert few.rate(few.median) == 10 * 4 * 5 / 2
    assert measure.growth(many, [few, many]) == pytest.approx(math.log(16) / math.log(4))
    assert measure.growth(few, [few, many]) is None
    assert measure.growth(many, [figure([1.0], what="other"), many]) is None
    assert measure.growth(many, [figure([1.0], worlds=1), many]) is None
    assert [measure.short(n) for n in (1.5, 1234, 12_345_678)] == ["1.5", "1.23k", "12.3M"]
    assert measure.share(figure([2.0], moved=1e9), LIMITS["cpu", 1]) == (0.5, "copy")
    assert measure.share(figure([2.0], products=1e9), LIMITS["cpu", 1]) == (0.25, "products")
    assert measure.share(few, LIMITS["cpu", 1]) is None


def test_table_and_document_hold_every_figure(capsys):
    figures = [figure([0.5], moved=1e8), figure([8.0], agents=16, grows_from=4)]
    Console(width=200).print(measure.table(figures, LIMITS))
    shown = capsys.readouterr().out
    for text in ("10 x 4", "10 x 16", "^2.00 (4)", "20% copy", "5.0", "1 thread(s): copy 1.0 GB/s"):
        assert text in shown
    document = json.loads(json.dumps(measure.document(figures, LIMITS)))
    assert [f["agents"] for f in document["figures"]] == [4, 16]
    assert document["figures"][0]["agent_steps_per_second"] == 80
    assert document["limits"] == [{"device": "cpu", "threads": 1, "copy": 1e9, "products": 2e9}]


def test_memory_is_that_of_the_case(monkeypatch):
    monkeypatch.setattr(measure, "_LEAST_SECONDS", 0)

    def make():
        held = mmap.mmap(-1, 50_000_000)  # new pages, whatever a test before has freed and kept
        held[:: mmap.PAGESIZE] = bytes(len(range(0, len(held), mmap.PAGESIZE)))
        return lambda: len(held)

    (found,) = measure.run([Case("w", 1, 1, 1, make)], 3, lambda *_: None)
    assert len(found.seconds) == 3
    assert found.peak is None or 49e6 < found.peak < 80e6


def test_bytes_that_a_step_must_move():
    case = stepping.batch("w", stepping.COLLIDING, 3, 8, 1)
    # alive and five int32 read, three of them written; rows, reward, left, metrics; action; size, truncated
    world = 8 * (21 + 12 + 16 + 4 + 1 + 8 + 8) + 4 + 1
    assert case.moved == 3 * case.steps * world
    assert case.products == 0
    gravity = stepping.batch("w", stepping.N_BODY, 3, 8, 1)
    assert gravity.products == 20 * 3 * gravity.steps * 9 * 8 * 7


def test_the_command_prints_and_writes_them_all(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "_LEAST_SECONDS", 0)
    monkeypatch.setattr(limits, "_COPIED", 2**16)
    monkeypatch.setattr(limits, "_SHAPES", ((64, 64, 64),))
    monkeypatch.setattr(stepping, "GROWTH", ((stepping.COLLIDING, {}, (2, 4)),))
    monkeypatch.setattr(stepping, "BATCHES", ((stepping.COLLIDING, 4, 2),))
    monkeypatch.setattr(training, "POLICIES", ("none",))
    monkeypatch.setattr(training, "STEPS", 4)
    monkeypatch.setattr(training, "WORLDS", {"cpu": 8})
    monkeypatch.setattr(mlp, "STEPS", 4)
    monkeypatch.setattr(peers, "_PEERS", (("Nobody", "nobody", None),))
    path = tmp_path / "speed.json"
    assert main(["speed", "--repeats", "1", "--threads", "1", "--compare", "--json", str(path)]) == 0
    said = capsys.readouterr().out
    for words in (
        "PettingZoo",
        "rollout, none",
        "update, none",
        "training, none",
        "two MLPs",
        "without torch",
    ):
        assert words in said
    assert "not installed, so not measured: Nobody" in said
    written = json.loads(path.read_text())
    assert written["fresh"]["torch"] is False
    assert {f["what"] for f in written["figures"]} >= {"training, none"}
    assert all(f["agent_steps_per_second"] > 0 for f in written["figures"])


def test_what_cannot_be_measured_is_one_line(tmp_path, capsys):
    for arguments, message in (
        (["--json", str(tmp_path / "no" / "x.json")], "no is no folder"),
        (["--json", str(tmp_path)], "is a folder"),
        (["--attention", "--render"], "give --attention or --render, not both"),
        (["--attention", "--compare"], "--compare and --json are not for --attention and --render"),
    ):
        is_one_line(main(["speed", *arguments]), capsys.readouterr().err, message)


def test_the_plain_network_sees_the_own_row_first():
    torch.manual_seed(0)
    network, rows = mlp.MLP(n_inputs=3 * 4, n_actions=5, trunks=2), torch.randn(2, 3, 4)
    logits, values = network(rows, torch.ones(2, 3, dtype=torch.bool))
    assert (logits.shape, values.shape) == ((2, 3, 5), (2, 3))
    turned = network(rows.roll(1, dims=1), torch.ones(2, 3, dtype=torch.bool))
    torch.testing.assert_close(turned[0], logits.roll(1, dims=1))
    torch.testing.assert_close(turned[1], values.roll(1, dims=1))


@pytest.mark.skipif(bool(find_spec("jaxmarl")), reason="JaxMARL is installed")
def test_a_peer_that_ends_is_told_of():
    with pytest.raises(ValueError, match="JaxMARL's IPPO has ended with status 1: ModuleNotFoundError"):
        peers._ippo()()
