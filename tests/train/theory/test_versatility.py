"""T3: what data tell apart, by hand, from files and from worlds; and that the verdict can fail."""

import pytest
import torch
from cli import is_one_line
from hypothesis import given
from hypothesis import strategies as st

from train.cli import main
from train.theory import versatility
from train.theory.diversity import diagnose, of_sets, of_world
from train.theory.experiment import Effort
from train.theory.versatility import TOGETHER, gamma, kinds


def test_entities_meet_the_others_of_their_set():
    met = of_sets([["a", "a", "b"]])
    assert [dict(row) for row in met["a"]] == [{"a": 1, "b": 1}] * 2
    assert [dict(row) for row in met["b"]] == [{"a": 2}]


def test_two_that_always_come_together_are_named():
    found = diagnose(of_sets([["a", "b", "c"], ["a", "b", "c", "c"], ["c", "c"], ["c", "a", "a", "b", "b"]]))
    of_c = next(one for one in found if one.kind == "c")
    assert (of_c.rank, of_c.kinds, of_c.confused) == (2, 3, ("a", "b"))
    assert of_c.smallest == pytest.approx(0, abs=1e-7)


def test_one_that_is_never_met_is_named():
    found = diagnose(of_sets([["a", "b"], ["b", "c"], ["a", "a"]]))
    assert next(one for one in found if one.kind == "a").confused == ("c",)


def test_a_mixture_is_named_where_no_two_are_alike():
    """Always as many c as a and b together."""
    sets = [["x", "a", "c"], ["x", "b", "c"], ["x", "a", "b", "c", "c"], ["x", "x"]]
    of_x = next(one for one in diagnose(of_sets(sets)) if one.kind == "x")
    assert of_x.rank == 3
    assert "c" in of_x.confused
    assert len(of_x.confused) == 2


@given(st.integers(0, 2**31))
def test_degenerate_data_hold_as_many_of_the_one_as_of_the_other(seed):
    drawn = kinds(8, 20, True, torch.Generator().manual_seed(seed))
    one, other = ((drawn == kind).sum(1) for kind in TOGETHER)
    assert torch.equal(one, other)
    assert drawn.unique().numel() > 6


def test_the_rate_of_collecting_pairs():
    n = torch.tensor(versatility._SAMPLES).double()
    assert gamma((1 - 2 * torch.exp(-0.17 * n)).tolist()) == pytest.approx(0.17)


@pytest.mark.slow
def test_what_is_whole_passes_and_what_is_broken_fails():
    for instead in ({}, {"sa_linear": "none"}, {"sa_linear": "sa"}):  # no interaction; a mean for a sum
        outcome = versatility.run(Effort(True, 2, 1, instead), lambda *_: None)
        learned = [f.passed for f in outcome.findings if f.quantity.endswith(", versatile")]
        assert learned == [not instead] * 2


def test_a_world_is_seen_by_displacement():
    met = of_world("colliding_agents_v0")
    assert {str(kind) for kind in met} == {f"heading={k} label=0" for k in range(4)}
    rows = met["heading=2 label=0"]
    assert all(sum(row.values()) < 8 for row in rows)
    kind = next(str(kind) for row in rows for kind in row)
    assert [part.partition("=")[0] for part in kind.split()] == ["x", "y", "heading", "label"]
    assert {abs(int(str(kind).split()[0][2:])) for row in rows for kind in row} == set(range(6)), (
        "what is in sight"
    )


def test_a_file_is_judged(tmp_path, capsys):
    path = tmp_path / "data.csv"
    path.write_text("set,entity\n1,a\n1,b\n2,a\n2,c\n3,b\n3,c\n4,a\n4,a\n5,b\n5,b\n6,c\n6,c\n")
    assert main(["theory", "versatility", "--data", str(path)]) == 0
    assert "yes: what a policy learns" in capsys.readouterr().out
    path.write_text("set,entity\n1,a\n1,b\n1,c\n2,a\n2,b\n2,c\n")
    assert main(["theory", "versatility", "--data", str(path)]) == 0
    out = capsys.readouterr().out
    assert "no: 3 of 3 kinds" in out
    assert "b and c" in out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"\xff\xfe\x00", "is not text"),
        (b"x,y\n1,2\n", "must have the columns set, entity, not ['x', 'y']"),
        (b"", "must have the columns set, entity, not None"),
        (b"set,entity\n1,a\n2,b\n", "is too small, no set has two entities"),
        (b"set,entity\n1,a\n1,a\n", "the data must hold entities of two kinds at least"),
    ],
)
def test_bad_data_are_one_line(content, message, tmp_path, capsys):
    path = tmp_path / "data.csv"
    if content is not None:
        path.write_bytes(content)
    is_one_line(main(["theory", "versatility", "--data", str(path)]), capsys.readouterr().err, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("versatility", "--env", "nonesuch_v0"), "no world 'nonesuch_v0'"),
        (("length", "--env", "n_body_v0"), "--env is for versatility, not length"),
        (("length", "--data", "x"), "--data is for versatility and language, not length"),
        (("all", "--preset", "small"), "--preset is for language, not all"),
        (("versatility", "--env", "n_body_v0", "--data", "x"), "give --data or --env, not both"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys):
    is_one_line(main(["theory", *arguments]), capsys.readouterr().err, message)
