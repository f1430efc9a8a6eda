"""How findings are judged and shown, and that bad input of `interact-env theory` is one line."""

import json
import math

import pytest
from cli import is_one_line

from train.cli import main
from train.theory.experiment import Finding, Outcome, judged, markdown, side_by_side


@pytest.mark.parametrize(
    ("given", "target", "passed"),
    [
        ({"high": 1e-7}, "<= 1e-07", False),
        ({"high": 2.0}, "<= 2", True),
        ({"low": 2.5}, ">= 2.5", False),
        ({"low": 1.9, "high": 2.1}, "1.9 to 2.1", True),
        ({}, "", None),
    ],
)
def test_a_finding_is_judged_by_its_mean(given, target, passed):
    finding = Finding("q", [1.0, 2.0, 3.0], **given)
    assert (finding.target, finding.passed) == (target, passed)
    assert finding.estimate[0] == 2
    assert finding.estimate[1] < 1


def test_errors_are_averaged_as_logarithms():
    assert Finding("q", [1e-8, 1e-4], log=True).estimate[0] == pytest.approx(1e-6)
    assert Finding("q", [0.0], high=1e-9, log=True).passed


def test_what_is_not_a_number_fails():
    assert Finding("q", [math.nan, 1.0], high=2).passed is False
    assert Finding("q", [math.nan, 1.0], high=2, log=True).passed is False
    assert not Outcome([Finding("q", [math.nan], low=0)], {}, {}).passed


def test_rows_tell_what_is_ours_and_what_a_source_reports():
    ours, theirs = Finding("a", [1.0], high=2, ours=True), Finding("b", [1.0, 3.0], low=4, reported="5")
    assert markdown([ours, theirs]).splitlines()[2:] == [
        "| a* | <= 2 |  | 1 | PASS |",
        "| b | >= 4 | 5 | 2 [-10.7, 14.7] | FAIL |",
    ]
    json.dumps(judged(ours), allow_nan=False)


def test_jobs_come_back_in_their_order():
    told = []
    assert side_by_side(abs, [-3, 2, -1], 1, lambda *step: told.append(step), str) == [3, 2, 1]
    assert told == [(0, 3, "-3"), (1, 3, "2"), (2, 3, "-1"), (3, 3, "")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lenght",), "no experiment 'lenght': give one of length"),
        (("length", "--seeds", "-1"), "--seeds must be >= 0, not -1"),
        (("length", "--threads", "-1"), "--threads must be >= 0, not -1"),
    ],
)
def test_bad_input_is_one_line(arguments, message, tmp_path, capsys):
    status = main(["theory", *arguments, "--out", str(tmp_path / "out")])
    is_one_line(status, capsys.readouterr().err, message)
    assert not (tmp_path / "out").exists()
