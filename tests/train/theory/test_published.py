"""The published experiments: the README's tables are made of their measurements."""

import json
from pathlib import Path

import pytest

from train.theory import EXPERIMENTS
from train.theory.experiment import Finding, judged, markdown

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
FOLDER = ROOT / "assets" / "theory"
PUBLISHED = [name for name in EXPERIMENTS if (FOLDER / name).exists()]
_SEEDS = 3  # of language models; five of all else


def test_what_is_published_is_an_experiment():
    assert {path.name for path in FOLDER.iterdir()} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_readme_has_the_table_of_what_was_measured(name):
    found = json.loads((FOLDER / name / "result.json").read_text())
    findings = [finding(written) for written in found["findings"]]
    assert [judged(one) for one in findings] == found["findings"], "the verdicts are those of the values"
    assert markdown(findings) in README
    assert not found["quick"]
    assert found["seeds"] >= (_SEEDS if name == "language" else 5)


def finding(written):
    """A finding as it was saved, in which infinities are words."""
    fields = {name: written[name] for name in Finding._fields}
    return Finding(**fields | {"low": float(fields["low"]), "high": float(fields["high"])})
