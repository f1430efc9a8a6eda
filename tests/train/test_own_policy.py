"""A policy of one's own is trained, evaluated and compared like ours."""

import json

import pytest
from cli import SMALL, interact, is_one_line

MODULE = """
import torch
from policies import Interaction, register


class Crowd(Interaction):
    \"\"\"Tells each entity how many it sees.\"\"\"

    def __init__(self, d_model, n_heads, d_head):
        super().__init__(d_model)
        self.out = torch.nn.Linear(1, d_model)

    def answer(self, x, memory, rotation, reach):
        return self.out(reach.pairs()[:, 0].sum(-1, keepdim=True).to(x.dtype))


register("crowd", Crowd)
"""


@pytest.mark.slow
def test_ones_own_policy_is_trained_and_evaluated(tmp_path):
    (tmp_path / "mine.py").write_text(MODULE)
    out = tmp_path / "run"
    small = [*SMALL[:-2], "--match-parameters", "20000"]
    done = interact("train", "--policy", "mine:crowd", "--out", out, *small, python_path=tmp_path)
    assert done.returncode == 0, done.stderr
    few = ("--n-agents", "2,8", "--episodes", "2")
    lost = interact("evaluate", out, *few, python_path=tmp_path)
    is_one_line(lost.returncode, lost.stderr, "one of your own: my_module:crowd")
    done = interact("evaluate", out, *few, "--policy", "mine:crowd", python_path=tmp_path)
    assert done.returncode == 0, done.stderr
    saved = json.loads((out / "evaluation.json").read_text())
    assert saved["policy"] == "crowd"
    assert saved["network"]["d_model"] == 48, "about 20,000 parameters"
