"""Results as marl-eval reads them."""

import json

from train.benchmark.exchange import marl_eval
from train.benchmark.results import ORACLE, Evaluated, Trained


def test_the_schema_of_marl_eval():
    run = ("w", "sa", "8", "constant density", 0)
    trained = Trained(*run, 100, 4000, 8.0, [[1000, 0.1], [4000, 0.5]], "")
    failed = trained._replace(seed=1, error="boom")
    tested = Evaluated("w", "sa", "8", "constant arena", 0, 32, 4, {"reward": 0.4, "collisions": 0.1}, 1.0)
    elsewhere = trained._replace(arena="constant arena", curve=[[4000, 9.9]])  # an oracle's
    first = tested._replace(policy="random", train_count="", arena="constant density")
    lines = [first, trained, elsewhere, failed, tested, tested._replace(policy=ORACLE, train_count="32")]
    lines += [tested._replace(policy="random", train_count="")]
    found = json.loads(json.dumps(marl_eval(lines)))
    task = found["w"]["32 agents, constant arena"]
    assert set(task) == {"sa, trained with 8", "oracle", "random"}
    assert task["sa, trained with 8"] == {
        "seed_0": {
            "step_0": {"step_count": 1000, "elapsed_time": 2.0, "reward": [0.1]},
            "step_1": {"step_count": 4000, "elapsed_time": 8.0, "reward": [0.5]},
            "absolute_metrics": {"reward": [0.4], "collisions": [0.1]},
        }
    }
    assert task["random"] == {"seed_0": {"absolute_metrics": {"reward": [0.4], "collisions": [0.1]}}}
