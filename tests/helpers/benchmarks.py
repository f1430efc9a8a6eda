"""A small benchmark's folder: made-up results, and runs of policies that have learned nothing."""

import json

from saved_runs import untrained

from train.benchmark import results
from train.benchmark.plan import Run
from train.benchmark.report.cells import own

WORLDS = {
    "colliding": ("colliding_agents_v0", {"vision_radius": 6}),
    "gravity": ("n_body_v0", {"interaction": "gravity", "vision_radius": None}),
}
POLICIES = ("sa", "sa_linear", "none")
COUNTS = (4, 8, 16)
SEEDS = 3
GRID = """
title = "A test"
policies = ["sa", "sa_linear", "none"]
train_counts = [8]
test_counts = [4, 8, 16]
oracle = "sa_linear"
seeds = [0, 1, 2]
agent_steps = 4000
worlds.colliding.env = "colliding_agents_v0"
"""
HARMFUL = "<script>window.taken = 1</script>\"'&<img src=x onerror='window.taken = 2'>"


def reward(policy, test_count, seed):
    """Worse the farther from 8 agents, worst without attention; some spread over seeds."""
    base = {"sa": 0.8, "sa_linear": 0.9, "none": 0.5, "random": 0.0}.get(policy, 0.6)
    return base - 0.02 * abs(test_count - 8) * (policy != "random") + 0.01 * (seed - 1)


def trained(world, policy, count, seed, error=""):
    curve = [[1000.0 * k, 0.1 * k + 0.01 * seed] for k in range(5)]
    return {
        "what": "trained", "world": world, "policy": policy, "train_count": count,
        "arena": "constant density", "seed": seed, "parameters": 5000, "agent_steps": 4000, "seconds": 2.0,
        "curve": [] if error else curve, "error": error,
    }  # fmt: skip


def evaluated(world, policy, count, seed, test_count, value=None):
    value = reward(policy, test_count, seed) if value is None else value
    return {
        "what": "evaluated", "world": world, "policy": policy, "train_count": count, "seed": seed,
        "arena": "constant density", "test_count": test_count, "episodes": 2,
        "values": {"reward": value, "return": value, "collisions": 0.3 - 0.2 * value}, "seconds": 0.1,
    }  # fmt: skip


def lines(worlds, policies):
    """What a benchmark of these would find, with an oracle at each number of agents."""
    found = []
    for world in worlds:
        for policy in policies:
            for seed in range(SEEDS):
                found.append(trained(world, policy, "8", seed))
                found += [evaluated(world, policy, "8", seed, n) for n in COUNTS]
        for n in COUNTS:
            found += [evaluated(world, "random", "", 0, n)]
            found += [evaluated(world, "oracle", str(n), seed, n, 0.95) for seed in range(SEEDS)]
    return found


def write(folder, found):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in found))
    (folder / "grid.toml").write_text(GRID)
    return folder


def run(folder, world, policy):
    """Where the first run of a policy is."""
    return folder / "runs" / Run(world, policy, "8", "constant density", 0).name


def made(folder):
    """Two worlds with runs to replay, one of a harmful name without, and a policy of that name."""
    found = lines([*WORLDS, HARMFUL], POLICIES)
    found += [evaluated("colliding", HARMFUL, "8", seed, n) for seed in range(SEEDS) for n in COUNTS]
    found += [
        trained("colliding", HARMFUL, "8", 0),
        trained("colliding", "sa_linear", "16", 0, f"it failed: {HARMFUL}"),
    ]
    for world, (env, parameters) in WORLDS.items():
        for policy in POLICIES:
            untrained(run(folder, world, policy), env, policy, scale=0.3, n_agents=8, **parameters)
    return write(folder, found)


def read(folder):
    """Runs and evaluations."""
    found = results.read(folder / results.FILE)
    evaluations = [line for line in found if isinstance(line, results.Evaluated)]
    return own([line for line in found if isinstance(line, results.Trained)], evaluations), evaluations
