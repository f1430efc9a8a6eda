"""B worlds of one kind, stepped together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numba
import numpy as np
from gymnasium import spaces

from interact_env import check
from interact_env.engine import cpu
from interact_env.engine.pairs import Scratch, scratch
from interact_env.population import population
from interact_env.world import World, precision

# Pairs of agents (B * L * L) above which waking the threads pays.
_PARALLEL_PAIRS = 32_768


class Step(NamedTuple):
    """What a step returns; the arrays are the batch's own and change at the next step."""

    reward: np.ndarray  # (B, L) of the batch's dtype
    terminated: np.ndarray  # (B, L) bool: left in this step
    truncated: np.ndarray  # (B,) bool: the time limit was reached


class WorldBatch:
    """B worlds of one kind on the CPU.

    `step` never resets by itself; `reset(mask)` restarts the worlds that are over. World b plays the
    same episodes whatever the batch size and the thread count.

    Attributes:
        dtype: precision of the world, its rows, rewards and metrics: float32 or float64.
        rows: (B, L, F), the entity rows; zero where no agent is. Overwritten by every step.
        alive: (B, L) bool, which rows are agents that are there.
        metrics: (B, L, M), per agent, of the last step.
        over: (B,) bool, worlds that must be reset before the next step.
        episode, n_agents, steps: (B,) int64, number of the episode, agents at its start, steps since.
    """

    def __init__(
        self,
        world: World,
        n_worlds: int = 1,
        *,
        seed: int | None = None,
        n_threads: int | None = None,
        first_world: int = 0,
        **parameters: Any,
    ) -> None:
        """Allocate the batch; call `reset` before `step`.

        Args:
            world: the rules.
            n_worlds: B.
            seed: in [0, 2**64); None draws one from the operating system.
            n_threads: None: one for a small batch, else as many as numba is set to use.
            first_world: number of world 0, so that two batches can play different worlds.
            parameters: of the world, see its `configure`; `n_agents` may be a list of (count, weight)
                pairs too, and `dtype` is "float32" or "float64".

        Raises:
            ValueError: a value is not allowed, by name.
        """
        self.world = world
        self.params = world.params(parameters)
        self.parameters = {**world.parameters(), **parameters}
        self.dtype = precision(self.parameters["dtype"])
        drawn = population(self.parameters["n_agents"])
        self._population = cpu.Counts(np.array(drawn.counts, np.int64), drawn.thresholds())
        self.n_worlds = check.whole("n_worlds", n_worlds, 1)
        self.n_slots = int(self.params.n_max)
        self.columns = world.columns(self.params)
        self.action_space = _supported(world.action_space(self.params))
        self.n_threads = n_threads
        self._threads = _threads(n_threads, self.n_worlds, self.n_slots)
        self._first_world = check.whole("first_world", first_world, 0, 2**32 - 1)
        self._kernels = cpu.kernels(world)
        self._state, self._after = self._blank(), self._blank()
        self._scratch = self._blank_scratch()
        self._clock = cpu.Clock(*(np.full(self.n_worlds, v, np.int64) for v in (-1, 0, 0)))
        self._out = self._blank_result()
        self.over = np.ones(self.n_worlds, np.bool_)
        self._set_seed(seed)

    def reset(self, mask: np.ndarray | None = None, *, seed: int | None = None) -> None:
        """Start the next episode of every world, or of those that `mask` chooses.

        Args:
            mask: (B,) bool; None: all.
            seed: starts over from episode 0 of this seed; for all worlds only.

        Raises:
            ValueError: a mask of another shape or dtype, or a mask and a seed.
        """
        if seed is not None:
            if mask is not None:
                raise ValueError("seed restarts all worlds: give mask or seed, not both")
            self._set_seed(seed)
        if mask is None:
            mask = np.ones(self.n_worlds, np.bool_)
        mask = np.asarray(mask)
        if mask.shape != (self.n_worlds,) or mask.dtype != np.bool_:
            raise ValueError(
                f"mask must be bool of shape ({self.n_worlds},), not {mask.dtype} of {mask.shape}"
            )
        self._run(
            self._kernels.reset,
            self.params,
            self._seed,
            self._population,
            mask,
            self._state,
            self._clock,
            self._out,
        )
        self.over[mask] = False

    def step(self, actions: Any) -> Step:
        """Advance every world by one step.

        Args:
            actions: (B, L) integers, or (B, L, K) floats; those of absent agents are ignored.

        Returns:
            reward, terminated, truncated; `rows`, `alive`, `metrics`, `over` are updated in place.

        Raises:
            ValueError: wrong shape, dtype or value; the message names the world and the agent, and
                nothing has changed.
            RuntimeError: a world is over.
        """
        if self.over.any():
            first = int(np.flatnonzero(self.over)[0])
            raise RuntimeError(
                f"world {first} has not been reset"
                if self.episode[first] < 0
                else f"world {first} is over: call reset(batch.over) before the next step"
            )
        return self.advance(self._checked(actions))

    def advance(self, actions: np.ndarray) -> Step:
        """`step` for actions that are known to be good: int64 (B, L) or float32 (B, L, K)."""
        self._run(
            self._kernels.step,
            self.params,
            self._state,
            self._after,
            actions,
            self._clock,
            self._out,
            *self._scratch,
        )
        self._state, self._after = self._after, self._state
        out = self._out
        np.logical_or(out.truncated, ~self._state.alive.any(axis=1), out=self.over)
        return Step(out.reward, out.terminated, out.truncated)

    def visible(self) -> np.ndarray | None:
        """(B, L, L) bool: agent i sees agent j (itself too); None where vision is not limited."""
        if self.world.visible is None or self.params.vision_radius == np.inf:
            return None
        out = np.empty((self.n_worlds, self.n_slots, self.n_slots), np.bool_)
        self._run(self._kernels.visible, self.params, self._state, out)
        return out

    def views(self, world: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Every agent's own set: entities (L, L, F), own row first, and mask (L, L) int8."""
        world = check.whole("world", world, 0, self.n_worlds - 1)
        entities = np.zeros((self.n_slots, self.n_slots, len(self.columns)), self.dtype)
        mask = np.zeros((self.n_slots, self.n_slots), np.int8)
        self._kernels.views(self.params, self._state, self.rows, world, entities, mask)
        return entities, mask

    def scripted(self, name: str) -> np.ndarray:
        """Actions (B, L) or (B, L, K) of a scripted policy: "random", or one of the world's.

        Raises:
            ValueError: there is no such policy.
        """
        if name == "random":
            return self._random()
        check.one_of("policy", name, ("random", *self.world.POLICIES))
        out = self.blank_actions()
        loop = cpu.scripted(self.world, name)
        self._run(loop, self.params, self._seed, self._state, self._clock, out)
        return out

    def blank_actions(self) -> np.ndarray:
        """Zeros of the shape and dtype that `step` takes."""
        shape = (self.n_worlds, self.n_slots, *(self.action_space.shape or ()))
        return np.zeros(shape, np.int64 if isinstance(self.action_space, spaces.Discrete) else np.float32)

    def state(self, world: int = 0) -> Any:
        """A copy of the State of one world."""
        world = check.whole("world", world, 0, self.n_worlds - 1)
        return type(self._state)(*(field[world].copy() for field in self._state))

    def scene(self, world: int = 0) -> Any:
        """The Scene of one world, for a viewer.

        Raises:
            RuntimeError: before the first reset.
            ValueError: the world's scene cannot be drawn.
        """
        if self.episode.min() < 0:
            raise RuntimeError("nothing to draw before reset()")
        return self.scene_of(self.state(world))

    def scene_of(self, state: Any) -> Any:
        """The Scene of a State, for a viewer.

        Raises:
            ValueError: it cannot be drawn.
        """
        from interact_env.render.scene import checked

        try:
            return checked(self.world.scene(self.params, state))
        except ValueError as error:
            raise ValueError(f"scene of {self.world.name}: {error}") from None

    def save(self) -> dict[str, np.ndarray]:
        """Copies of every array that the future depends on, to `restore` later."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Go back to a `save` of a batch of the same world and parameters.

        Raises:
            ValueError: an array is missing or of another shape or dtype.
        """
        arrays = self._arrays()
        for name, array in arrays.items():
            given = saved.get(name)
            if given is None or given.shape != array.shape or given.dtype != array.dtype:
                raise ValueError(f"saved[{name!r}] must be {array.dtype} of shape {array.shape}")
        for name, array in arrays.items():
            array[...] = saved[name]

    @property
    def rows(self) -> np.ndarray:
        """(B, L, F), the entity rows."""
        return self._out.rows

    @property
    def reward(self) -> np.ndarray:
        """(B, L), of the last step."""
        return self._out.reward

    @property
    def metrics(self) -> np.ndarray:
        """(B, L, M), of the last step."""
        return self._out.metrics

    @property
    def alive(self) -> np.ndarray:
        """(B, L) bool, who is there."""
        return self._state.alive

    @property
    def episode(self) -> np.ndarray:
        """(B,) int64, number of the episode; -1 before the first."""
        return self._clock.episode

    @property
    def n_agents(self) -> np.ndarray:
        """(B,) int64, agents at the start of the episode."""
        return self._clock.n_agents

    @property
    def steps(self) -> np.ndarray:
        """(B,) int64, steps since the start of the episode."""
        return self._clock.steps

    def __getstate__(self) -> dict[str, Any]:
        given = {k: self.parameters[k] for k in self.world.parameters()}
        return {
            "world": self.world,
            "n_worlds": self.n_worlds,
            "n_threads": self.n_threads,
            "first_world": self._first_world,
            "parameters": given,
            "arrays": self.save(),
        }

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self.__init__(  # type: ignore[misc]
            saved["world"],
            saved["n_worlds"],
            seed=0,
            n_threads=saved["n_threads"],
            first_world=saved["first_world"],
            **saved["parameters"],
        )
        self.restore(saved["arrays"])

    def _arrays(self) -> dict[str, np.ndarray]:
        named = {f"state.{k}": v for k, v in self._state._asdict().items()}
        named |= {f"clock.{k}": v for k, v in self._clock._asdict().items()}
        named |= {f"result.{k}": v for k, v in self._out._asdict().items()}
        return named | {"over": self.over, "seed": self._seed}

    def _blank(self) -> Any:
        one = self.world.blank(self.params)
        zeros = (
            np.zeros((self.n_worlds, *f.shape), self.dtype if f.dtype.kind == "f" else f.dtype) for f in one
        )
        return type(one)(*zeros)

    def _blank_result(self) -> cpu.Result:
        shape = (self.n_worlds, self.n_slots)
        return cpu.Result(
            rows=np.zeros((*shape, len(self.columns)), self.dtype),
            reward=np.zeros(shape, self.dtype),
            terminated=np.zeros(shape, np.bool_),
            truncated=np.zeros(self.n_worlds, np.bool_),
            metrics=np.zeros((*shape, len(self.world.METRICS)), self.dtype),
        )

    def _blank_scratch(self) -> tuple[Any, Scratch]:
        one = cpu.fields(self.world, self.params)
        return scratch(one._replace(state=self.state()), self._threads)

    def _set_seed(self, seed: int | None) -> None:
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        seed = check.whole("seed", seed, 0, 2**64 - 1)
        # Low and high word of the seed, and the number of world 0: what `cpu.key_of` reads.
        words = (seed & 0xFFFFFFFF, seed >> 32, self._first_world)
        self._seed = np.array(words, np.uint64)
        self._clock.episode[:] = -1

    def _run(self, loop: cpu.Loop, *arguments: Any) -> None:
        if self._threads == 1:
            loop.serial(*arguments)
            return
        before = numba.get_num_threads()
        numba.set_num_threads(self._threads)
        try:
            loop.parallel(*arguments)
        finally:
            numba.set_num_threads(before)

    def _random(self) -> np.ndarray:
        space, out = self.action_space, self.blank_actions()
        noise = np.empty((self.n_worlds, self.n_slots, max(1, out[0, 0].size)), np.float32)
        cpu.random_actions(self._seed, self._clock, noise)
        if isinstance(space, spaces.Discrete):
            return (noise[..., 0] * space.n).astype(np.int64)
        assert isinstance(space, spaces.Box)
        return (space.low + noise.reshape(out.shape) * (space.high - space.low)).astype(np.float32)

    def _checked(self, actions: Any) -> np.ndarray:
        space, like = self.action_space, self.blank_actions()
        try:
            given = np.asarray(actions)
        except ValueError:
            raise ValueError(f"actions must be an array of shape {like.shape}") from None
        discrete = isinstance(space, spaces.Discrete)
        kind = "integers" if discrete else "floats"
        if given.shape != like.shape or given.dtype.kind not in ("iu" if discrete else "f"):
            raise ValueError(
                f"actions must be {kind} of shape {like.shape}, not {given.dtype} of {given.shape}"
            )
        if isinstance(space, spaces.Discrete):
            good = (given >= 0) & (given < space.n)
            allowed = f"in [0, {space.n})"
        else:
            assert isinstance(space, spaces.Box)
            good = ((given >= space.low) & (given <= space.high)).all(axis=-1)
            allowed = f"within [{space.low.min():g}, {space.high.max():g}]"
        bad = self.alive & ~good
        if bad.any():
            b, i = (int(k[0]) for k in np.nonzero(bad))
            raise ValueError(f"actions[{b}, {i}] must be {allowed}, not {given[b, i]}")
        return given.astype(like.dtype, copy=False)


def _supported(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The action space, if the engine knows its kind."""
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return space
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.is_bounded():
        return space
    raise ValueError(f"action_space must be Discrete from 0 or a bounded Box of shape (K,), not {space}")


def _threads(n_threads: int | None, n_worlds: int, n_slots: int) -> int:
    if n_threads is None:
        return (
            min(numba.get_num_threads(), n_worlds) if n_worlds * n_slots * n_slots >= _PARALLEL_PAIRS else 1
        )
    return check.whole("n_threads", n_threads, 1, max_threads())


def max_threads() -> int:
    """The most threads that numba can use here; NUMBA_NUM_THREADS sets it before the first import."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
