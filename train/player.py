"""An episode to watch: played forward as a policy goes, and gone back in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from interact_env.engine import WorldBatch
from interact_env.render import Bar, Link, Moment, moment
from train.evaluate import Act
from train.policy import EntityPolicy

_REMEMBERED = 2000  # steps of an episode that can be gone back
Kept = tuple[dict[str, np.ndarray], Moment]


class Insight(NamedTuple):
    """What goes on in one agent."""

    links: tuple[Link, ...] = ()  # its attention to the others, the largest 1
    card: tuple[Bar, ...] = ()
    attention: tuple[int, int] = (0, 0)  # layers and heads that there are


class Player:
    """One world, its policy, and everything that happened in the episode so far.

    What is sampled in a step depends on the seed, the episode and the step alone, so two players of one
    policy and seed show the same, and going back and forth changes nothing.
    """

    def __init__(
        self, title: str, batch: WorldBatch, act: Act, policy: EntityPolicy | None = None, seed: int = 0
    ) -> None:
        """Start episode 0 of the seed.

        Args:
            title: what the status line calls it.
            batch: of one world.
            act: the policy.
            policy: its network, to look into; None: a scripted one.
            seed: of the world, and of the actions that are sampled.
        """
        self.title, self.batch, self.policy = title, batch, policy
        self._act, self._seed = act, seed
        batch.reset(seed=seed)
        self._begin()

    @property
    def now(self) -> Moment:
        """What there is to see."""
        return self._kept[self._at][1]

    @property
    def over(self) -> bool:
        """Whether the episode has ended here."""
        return bool(self.batch.over[0])

    def forward(self) -> bool:
        """One step on, as it went before if this is the past; False: the episode is over."""
        if self._at + 1 < len(self._kept):
            self._go(self._at + 1)
            return True
        if self.over:
            return False
        self.batch.step(self._actions())
        self._kept.append((self.batch.save(), self.now.then(self.batch)))
        self._at += 1
        if len(self._kept) > _REMEMBERED:
            del self._kept[0]
            self._at -= 1
        return True

    def back(self) -> bool:
        """One step back; False: this is the start."""
        if self._at == 0:
            return False
        self._go(self._at - 1)
        return True

    def restart(self) -> None:
        """Back to the start of this episode, or as far as it is remembered."""
        self._go(0)

    def next_episode(self) -> None:
        """Start the next one, and forget this one."""
        self._go(len(self._kept) - 1)
        self.batch.reset()
        self._begin()

    def steer(self, agent: int, choose: Callable[[], Any]) -> None:
        """From now on let one agent do what `choose` gives, and show nothing of what its policy thinks."""
        others, self.policy = self._act, None

        def act(batch: WorldBatch) -> np.ndarray:
            actions = others(batch)
            actions[0, agent] = choose()
            return actions

        self._act = act

    def inspect(self, agent: int, layer: int = -1, head: int = -1) -> Insight:
        """What goes on in an agent now.

        Args:
            agent: its slot.
            layer: whose attention is shown, counted round; -1: the last.
            head: of that layer, counted round from 0; -1: the mean of all.

        Returns:
            Nothing of an agent that is not there; no links for policies that weigh no pairs.
        """
        if not (0 <= agent < self.batch.n_slots and self.batch.alive[0, agent]):
            return Insight()
        card = [Bar("agent", str(agent))]
        returns = self.now.returns
        if returns is not None:
            card.append(Bar("return", f"{returns[agent]:.2f}"))
        if self.policy is None:
            return Insight(card=tuple(card))
        with torch.no_grad():
            seen, rows = self._view(agent)
            observation = {"entities": rows, "mask": torch.ones(rows.shape[:2], dtype=torch.bool)}
            card += self._answer(observation)
            return self._attended(Insight(card=tuple(card)), observation, seen, layer, head)

    def _begin(self) -> None:
        self._kept: list[Kept] = [(self.batch.save(), moment(self.batch))]
        self._at = 0

    def _go(self, at: int) -> None:
        self._at = at
        self.batch.restore(self._kept[at][0])

    def _actions(self) -> np.ndarray:
        with torch.random.fork_rng(devices=[]):
            words = (self._seed, int(self.batch.episode[0]), int(self.batch.steps[0]))
            torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1))
            return self._act(self.batch)

    def _view(self, agent: int) -> tuple[np.ndarray, torch.Tensor]:
        """Slots of what an agent sees, itself first, and their rows (1, n, F)."""
        visible = self.batch.visible()
        seen = self.batch.alive[0] if visible is None else self.batch.alive[0] & visible[0, agent]
        others = np.flatnonzero(seen)
        slots = np.concatenate([[agent], others[others != agent]])
        return slots, torch.from_numpy(self.batch.rows[0, slots]).float()[None]

    def _answer(self, observation: dict[str, torch.Tensor]) -> list[Bar]:
        """Value and actions."""
        assert self.policy is not None
        bars = [Bar("value", f"{float(self.policy.predict_values(observation)[0]):.2f}")]
        distribution = self.policy.get_distribution(observation).distribution
        if isinstance(distribution, torch.distributions.Categorical):
            names = {number: key for key, number in self.batch.world.KEYS.items()}
            chances = enumerate(distribution.probs[0].tolist())
            return bars + [
                Bar(names.get(k, "rest" if k == 0 else f"action {k}"), f"{p:.2f}", p) for k, p in chances
            ]
        assert isinstance(distribution, torch.distributions.Distribution)
        means, spreads = distribution.mean[0].tolist(), distribution.stddev[0].tolist()
        return bars + [
            Bar(f"action {k}", f"{mean:+.2f} \u00b1 {spread:.2f}")
            for k, (mean, spread) in enumerate(zip(means, spreads, strict=True))
        ]

    def _attended(
        self,
        insight: Insight,
        observation: dict[str, torch.Tensor],
        slots: np.ndarray,
        layer: int,
        head: int,
    ) -> Insight:
        """The insight, with whom the first of these slots attends to."""
        assert self.policy is not None
        try:
            layers = self.policy.network.weights(observation["entities"], observation["mask"])
        except ValueError:  # it weighs no pairs
            return insight._replace(card=(*insight.card, Bar("attention", "none")))
        n_layers, n_heads = len(layers), layers[0].shape[1]
        layer = n_layers - 1 if layer < 0 else layer % n_layers
        heads = layers[layer][0, :, 0]  # (H, n): of the agent itself, the first of its view
        weights = (heads.mean(0) if head < 0 else heads[head % n_heads]).tolist()
        largest = max(map(abs, weights)) or 1.0
        agent, *others = slots.tolist()
        links = tuple(Link(agent, j, w / largest) for j, w in zip(others, weights[1:], strict=True))
        which = "mean" if head < 0 else str(head % n_heads + 1)
        bars = (Bar("layer", f"{layer + 1} of {n_layers}"), Bar("head", f"{which} of {n_heads}"))
        return Insight(links, insight.card + bars, (n_layers, n_heads))
