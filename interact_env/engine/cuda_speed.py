"""How fast worlds step on a GPU, against what its memory could do.

Run as: python -m interact_env.engine.cuda_speed n_body_v0 --n-agents 64
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

import interact_env
from interact_env.engine import WorldBatch


def main() -> int:
    """Print the measured table; 1 where there is no GPU or the arguments are bad."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", nargs="?", default="colliding_agents_v0")
    parser.add_argument("--n-worlds", type=int, default=2**21)
    parser.add_argument("--n-agents", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args()
    try:
        batch = interact_env.make_batch(
            given.world, given.n_worlds, n_agents=given.n_agents, max_cycles=None, seed=0, device="cuda"
        )
        report(batch, given.steps)
    except ValueError as error:
        print(f"cuda_speed: {error}", file=sys.stderr)
        return 1
    return 0


def report(batch: WorldBatch, steps: int) -> None:
    """Print medians of 5 runs of so many steps of random actions."""
    import torch

    batch.reset()
    actions = batch.scripted("random")
    must_move = bytes_of_a_step(batch, actions)
    batch.advance(actions)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        batch.advance(actions)
    block = torch.empty(2**28, dtype=torch.float32, device=batch.device)
    other = torch.empty_like(block)
    copies = _milliseconds(lambda: other.copy_(block), 20)
    bandwidth = 2 * block.nbytes / copies * 1e3
    name = torch.cuda.get_device_name(batch.device)
    print(f"{name}, torch {torch.__version__}: copies at {bandwidth / 1e9:,.0f} GB/s")
    print(f"{batch.world.name}, {batch.n_worlds} worlds of {batch.n_slots}: {must_move / 1e6:,.1f} MB a step")
    agents = batch.n_worlds * batch.n_slots
    for way, run in (("launched", lambda: batch.advance(actions)), ("as a graph", graph.replay)):
        took = _milliseconds(run, steps)
        share = must_move / took * 1e3 / bandwidth
        speed = agents / took * 1e3
        print(f"{way}: {took * 1e3:,.1f} us a step, {speed:,.0f} agent steps/s, {share:.0%} of the bandwidth")


def bytes_of_a_step(batch: WorldBatch, actions: object) -> int:
    """What must be read or written: the state both ways, actions and steps in, results and steps out."""
    arrays = batch._arrays
    state = sum(field.nbytes for field in arrays.state)
    moved = [*arrays.out, arrays.over, arrays.clock.steps, arrays.clock.steps, actions]
    return int(2 * state + sum(array.nbytes for array in moved))  # type: ignore[attr-defined]


def _milliseconds(run: Callable[[], object], times: int) -> float:
    """Median of 5 over so many runs, by the GPU's own clock."""
    import torch

    found = []
    for _ in range(6):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(times):
            run()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end) / times)
    return statistics.median(found[1:])


if __name__ == "__main__":
    sys.exit(main())
