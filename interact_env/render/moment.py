"""A moment of an episode: the scene, and what a viewer remembers of what came before."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from interact_env.render.scene import Scene

if TYPE_CHECKING:
    from interact_env.engine import WorldBatch

TRAIL = 12  # steps that are remembered


class Moment(NamedTuple):
    """What there is to see of one world after so many steps."""

    scene: Scene
    step: int = 0
    limit: int = 0  # steps of an episode, 0: no limit
    n_agents: int = 0  # that are there
    started: int = 1  # that were there at the start
    returns: np.ndarray | None = None  # (L,) reward since the start of the episode, 0 for empty slots
    collisions: float | None = None  # since the start, per agent; None: the world counts none
    trail: tuple[np.ndarray, ...] = ()  # (L, 2) each: where the agents were, the oldest first; nan: nowhere

    def where(self, n_slots: int) -> np.ndarray:
        """Where each agent is, (n_slots, 2); nan: nowhere."""
        places = np.full((n_slots, 2), np.nan)
        for agent, place in self.scene.places().items():
            places[agent] = place
        return places

    def then(self, batch: WorldBatch, world: int = 0) -> Moment:
        """The moment one step later, of a batch that has just been stepped, or reset: then the first."""
        if batch.steps[world] != self.step + 1 or self.returns is None:
            return moment(batch, world)
        later = moment(batch, world)
        collisions = later.collisions
        if collisions is not None and self.collisions is not None:
            happened = batch.metrics[world, :, batch.world.METRICS.index("collisions")].sum()
            collisions = self.collisions + float(happened) / later.started
        return later._replace(
            returns=self.returns + batch.reward[world],
            collisions=collisions,
            trail=(*self.trail, self.where(batch.n_slots))[-TRAIL:],
        )


def moment(batch: WorldBatch, world: int = 0) -> Moment:
    """The moment that a batch is in, without memories: the first of an episode.

    Raises:
        RuntimeError: before the first reset.
    """
    return Moment(
        scene=batch.scene(world),
        step=int(batch.steps[world]),
        limit=int(batch.params.max_cycles),
        n_agents=int(batch.alive[world].sum()),
        started=max(1, int(batch.n_agents[world])),
        returns=np.zeros(batch.n_slots),
        collisions=0.0 if "collisions" in batch.world.METRICS else None,
    )
