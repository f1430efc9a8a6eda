"""What a step of the worlds costs on a GPU, launched as a CUDA graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import interact_env
from train.speed import training
from train.speed.measure import Case, Task
from train.speed.stepping import COLLIDING, N_BODY, arithmetic, bytes_of, title
from train.training import worlds_device

_STEPS = 20
BATCHES: tuple[tuple[str, int, int], ...] = (
    (COLLIDING, 2**21, 8),
    (COLLIDING, 1024, 64),
    (COLLIDING, 4, 4096),
    (N_BODY, 1024, 64),
    (N_BODY, 64, 256),
)


def cases() -> Iterator[Case]:
    """Batches on the GPU, and training there; none without one that can be used."""
    import torch

    if not torch.cuda.is_available() or worlds_device("cuda") == "cpu":
        return
    for env, worlds, n in BATCHES:
        # Nobody leaves, so that every step is the same work.
        stays = {"escape_radius": 1e5} if env == N_BODY else {}
        given = {"n_agents": n, "max_cycles": None, **stays}
        one = interact_env.make_batch(env, 1, seed=0, **given)
        products = _STEPS * worlds * arithmetic(one)
        yield Case(
            title(env),
            worlds,
            n,
            0,
            lambda env=env, worlds=worlds, given=given: _replayed(env, worlds, given),  # type: ignore[misc]
            _STEPS,
            moved=0 if products else _STEPS * worlds * bytes_of(one),
            products=products,
            device="cuda",
        )
    yield from training.cases(0, "cuda")


def _replayed(env: str, worlds: int, given: dict[str, Any]) -> Task:
    """So many steps of random actions, recorded once; the call waits for their end."""
    import torch

    batch = interact_env.make_batch(env, worlds, seed=0, device="cuda", **given)
    batch.reset()
    actions = batch.scripted("random")
    batch.advance(actions)  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(_STEPS):
            batch.advance(actions)

    def task() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return task
