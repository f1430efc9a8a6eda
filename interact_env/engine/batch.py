"""B worlds of one kind, stepped together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from interact_env import check
from interact_env.engine import cpu
from interact_env.engine.cpu import max_threads
from interact_env.memory import as_text
from interact_env.population import population
from interact_env.world import World, precision

__all__ = ["Array", "Step", "WorldBatch", "max_threads"]

# What a GPU needs, and the name to import it by.
_GPU_PACKAGES = (("torch", "torch"), ("numba-cuda", "numba_cuda"))
# Bytes that are taken without a look at what is free.
_FREELY = 2**24
# numpy.ndarray on the CPU, torch.Tensor on a GPU.
Array = Any


class Step(NamedTuple):
    """What a step returns; the arrays are the batch's own and change at the next step."""

    reward: Array  # (B, L) of the batch's dtype
    terminated: Array  # (B, L) bool: left in this step
    truncated: Array  # (B,) bool: the time limit was reached


class WorldBatch:
    """B worlds of one kind, on the CPU or a GPU.

    `step` never resets by itself; `reset(mask)` restarts the worlds that are over. World b plays the
    same episodes whatever the batch size and the thread count.

    On the CPU all arrays are numpy's. With `device="cuda"` they are torch tensors on that GPU, the
    kernels run on torch's current stream, and `step`, `advance`, `reset(mask)`, `visible` and `scripted`
    never wait for them: once compiled by a first call, a rollout can be captured in a CUDA graph. So
    `step` cannot refuse a bad action there: it takes the least allowed one, and `check` raises when it is
    asked. Whole numbers are those of the CPU, bit for bit; floats differ in their last bits, since a GPU
    rounds a product and a sum at once.

    Attributes:
        device: "cpu", or the GPU as "cuda:0".
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
        device: Any = "cpu",
        n_threads: int | None = None,
        first_world: int = 0,
        **parameters: Any,
    ) -> None:
        """Allocate the batch; call `reset` before `step`.

        Args:
            world: the rules.
            n_worlds: B.
            seed: in [0, 2**64); None draws one from the operating system.
            device: "cpu", "cuda" (torch's current GPU) or "cuda:0", "cuda:1", ...
            n_threads: of the CPU; None: one for a small batch, else as many as numba is set to use.
            first_world: number of world 0, so that two batches can play different worlds.
            parameters: of the world, see its `configure`; `n_agents` may be a list of (count, weight)
                pairs too, and `dtype` is "float32" or "float64".

        Raises:
            ValueError: a value is not allowed, by name, there is no such device, or not so much memory.
        """
        self.world = world
        self.params = world.params(parameters)
        self.parameters = {**world.parameters(), **parameters}
        self.dtype = precision(self.parameters["dtype"])
        drawn = population(self.parameters["n_agents"])
        self.n_worlds = check.whole("n_worlds", n_worlds, 1)
        self.n_slots = int(self.params.n_max)
        self.columns = world.columns(self.params)
        self.action_space = _supported(world.action_space(self.params))
        self.n_threads = n_threads
        self._first_world = check.whole("first_world", first_world, 0, 2**32 - 1)
        self._engine = _engine(device, world, self.action_space, n_threads)
        self.device = self._engine.device
        counts = cpu.Counts(np.array(drawn.counts, np.int64), drawn.thresholds())
        self._check_memory()
        state, clock, out, over = self._blank(self.n_worlds)
        self._arrays = cpu.Arrays(
            params=self._on_device(self.params),
            seed=self._engine.array(np.zeros(3, np.uint64)),
            population=self._on_device(counts),
            state=self._on_device(state),
            clock=self._on_device(clock),
            out=self._on_device(out),
            over=self._engine.array(over),
        )
        self._engine.bind(self._arrays)
        self._set_seed(seed)

    def reset(self, mask: Array | None = None, *, seed: int | None = None) -> None:
        """Start the next episode of every world, or of those that `mask` chooses.

        Args:
            mask: (B,) bool, on the batch's device; None: all.
            seed: starts over from episode 0 of this seed; for all worlds only.

        Raises:
            ValueError: a mask of another shape, dtype or device, or a mask and a seed.
        """
        if seed is not None:
            if mask is not None:
                raise ValueError("seed restarts all worlds: give mask or seed, not both")
            self._set_seed(seed)
        self._engine.reset(self._engine.chosen(mask))

    def step(self, actions: Any) -> Step:
        """Advance every world by one step.

        Args:
            actions: (B, L) integers, or (B, L, K) floats; those of absent agents are ignored. On a GPU a
                tensor there, int64 or float32.

        Returns:
            reward, terminated, truncated; `rows`, `alive`, `metrics`, `over` are updated in place.

        Raises:
            ValueError: wrong shape, dtype or value; the message names the world and the agent, and
                nothing has changed. On a GPU a wrong value is for `check` to tell.
            RuntimeError: a world is over. On a GPU that is for `check` to tell, and it goes on.
        """
        return self.advance(self._engine.checked(actions))

    def advance(self, actions: Array) -> Step:
        """`step` for actions that are known to be good: int64 (B, L) or float32 (B, L, K)."""
        self._engine.step(actions)
        out = self._arrays.out
        return Step(out.reward, out.terminated, out.truncated)

    def check(self) -> None:
        """Wait for the GPU and raise what `step` could not since the last check; nothing on the CPU.

        Raises:
            ValueError: an action was not allowed; the message names the first world and agent of those.
            RuntimeError: a world was stepped when it was over.
        """
        self._engine.raise_faults()

    def visible(self) -> Array | None:
        """(B, L, L) bool: agent i sees agent j (itself too); None where vision is not limited."""
        if self.world.visible is None or self.params.vision_radius == np.inf:
            return None
        return self._engine.visible()

    def views(self, world: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Every agent's own set, in numpy: entities (L, L, F), own row first, and mask (L, L) int8."""
        world = check.whole("world", world, 0, self.n_worlds - 1)
        entities = np.zeros((self.n_slots, self.n_slots, len(self.columns)), self.dtype)
        mask = np.zeros((self.n_slots, self.n_slots), np.int8)
        host = self._engine.host
        state = type(self._state)(*map(host, self._state))
        cpu.kernels(self.world).views(self.params, state, host(self.rows), world, entities, mask)
        return entities, mask

    def scripted(self, name: str) -> Array:
        """Actions (B, L) or (B, L, K) of a scripted policy: "random", or one of the world's.

        Raises:
            ValueError: there is no such policy.
        """
        check.one_of("policy", name, ("random", *self.world.POLICIES))
        policy = cpu.random_policy(self.action_space) if name == "random" else self.world.POLICIES[name]
        out = self.blank_actions()
        self._engine.act(policy, out)
        return out

    def blank_actions(self) -> Array:
        """Zeros of the shape and dtype that `step` takes."""
        return self._engine.blank_actions()

    def state(self, world: int = 0) -> Any:
        """A copy of the State of one world, in numpy."""
        world = check.whole("world", world, 0, self.n_worlds - 1)
        return type(self._state)(*(self._engine.host(field[world]).copy() for field in self._state))

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
        """Copies in numpy of every array that the future depends on, to `restore` on any device."""
        return {name: self._engine.host(array) for name, array in self.copies().items()}

    def copies(self) -> dict[str, Array]:
        """What `save` gives, where it is: on a GPU nothing waits for it."""
        return {name: self._engine.copy(array) for name, array in self._named().items()}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Go back to a `save` of a batch of the same world and parameters.

        Raises:
            ValueError: an array is missing or of another shape or dtype.
        """
        arrays = self._named()
        for name, here in arrays.items():
            given, array = saved.get(name), self._engine.host(here)
            if given is None or given.shape != array.shape or given.dtype != array.dtype:
                raise ValueError(f"saved[{name!r}] must be {array.dtype} of shape {array.shape}")
        for name, array in arrays.items():
            self._engine.write(array, saved[name])

    @property
    def rows(self) -> Array:
        """(B, L, F), the entity rows."""
        return self._arrays.out.rows

    @property
    def reward(self) -> Array:
        """(B, L), of the last step."""
        return self._arrays.out.reward

    @property
    def metrics(self) -> Array:
        """(B, L, M), of the last step."""
        return self._arrays.out.metrics

    @property
    def alive(self) -> Array:
        """(B, L) bool, who is there."""
        return self._arrays.state.alive

    @property
    def over(self) -> Array:
        """(B,) bool, worlds that must be reset before the next step."""
        return self._arrays.over

    @property
    def episode(self) -> Array:
        """(B,) int64, number of the episode; -1 before the first."""
        return self._arrays.clock.episode

    @property
    def n_agents(self) -> Array:
        """(B,) int64, agents at the start of the episode."""
        return self._arrays.clock.n_agents

    @property
    def steps(self) -> Array:
        """(B,) int64, steps since the start of the episode."""
        return self._arrays.clock.steps

    def __getstate__(self) -> dict[str, Any]:
        given = {k: self.parameters[k] for k in self.world.parameters()}
        return {
            "world": self.world,
            "n_worlds": self.n_worlds,
            "device": self.device,
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
            device=saved["device"],
            n_threads=saved["n_threads"],
            first_world=saved["first_world"],
            **saved["parameters"],
        )
        self.restore(saved["arrays"])

    @property
    def _state(self) -> Any:
        return self._arrays.state

    def _named(self) -> dict[str, Array]:
        arrays = self._arrays
        named = {f"state.{k}": v for k, v in arrays.state._asdict().items()}
        named |= {f"clock.{k}": v for k, v in arrays.clock._asdict().items()}
        named |= {f"result.{k}": v for k, v in arrays.out._asdict().items()}
        return named | {"over": arrays.over, "seed": arrays.seed}

    def _on_device(self, fields: Any) -> Any:
        """A NamedTuple with its numpy arrays on the device, its scalars as they are."""
        return type(fields)(*(self._engine.array(f) if isinstance(f, np.ndarray) else f for f in fields))

    def _check_memory(self) -> None:
        """Refuse what would not fit, before any of it is taken: the system might end the process instead."""
        state, clock, out, over = self._blank(1)
        parts = (*state * self._engine.states, *clock, *out, over)
        need = self.n_worlds * sum(array.nbytes for array in parts)
        if need > _FREELY and need > (free := self._engine.free_memory()):
            raise ValueError(
                f"n_worlds={self.n_worlds} would need {need} bytes of memory ({as_text(need)}), and {free} "
                f"({as_text(free)}) are free on {self.device}: lower n_worlds, or the number of agents"
            )

    def _blank(self, n_worlds: int) -> tuple[Any, cpu.Clock, cpu.Result, np.ndarray]:
        """The arrays of so many worlds, in numpy: state, clock, result, over."""
        one = self.world.blank(self.params)
        state = (np.zeros((n_worlds, *f.shape), self.dtype if f.dtype.kind == "f" else f.dtype) for f in one)
        shape = (n_worlds, self.n_slots)
        result = cpu.Result(
            rows=np.zeros((*shape, len(self.columns)), self.dtype),
            reward=np.zeros(shape, self.dtype),
            terminated=np.zeros(shape, np.bool_),
            truncated=np.zeros(n_worlds, np.bool_),
            metrics=np.zeros((*shape, len(self.world.METRICS)), self.dtype),
        )
        clock = cpu.Clock(*(np.full(n_worlds, value, np.int64) for value in (-1, 0, 0)))
        return type(one)(*state), clock, result, np.ones(n_worlds, np.bool_)

    def _set_seed(self, seed: int | None) -> None:
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        seed = check.whole("seed", seed, 0, 2**64 - 1)
        # Low and high word of the seed, and the number of world 0: what `cpu.key_of` reads.
        words = (seed & 0xFFFFFFFF, seed >> 32, self._first_world)
        self._engine.write(self._arrays.seed, np.array(words, np.uint64))
        self._arrays.clock.episode[:] = -1


def _engine(device: Any, world: World, space: spaces.Space[Any], n_threads: int | None) -> Any:
    """The engine of a device; only a GPU's imports torch and numba-cuda."""
    if str(device) == "cpu":
        return cpu.Engine(world, space, n_threads)
    if not re.fullmatch(r"cuda(:[0-9]{1,3})?", str(device)):
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:0', 'cuda:1', ..., not {device!r}")
    if n_threads is not None:
        raise ValueError(f"n_threads={n_threads!r} is for the CPU, not for device={str(device)!r}")
    missing = [name for name, module in _GPU_PACKAGES if not find_spec(module)]
    if missing:
        raise ValueError(f"device 'cuda' needs {' and '.join(missing)}: pip install 'interact-env[cuda]'")
    try:
        from interact_env.engine import cuda
    except ImportError as error:  # a part of theirs is missing
        raise ValueError(f"device {str(device)!r} cannot be used: {error}") from None
    return cuda.Engine(str(device), world, space)


def _supported(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The action space, if the engine knows its kind."""
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return space
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.is_bounded():
        return space
    raise ValueError(f"action_space must be Discrete from 0 or a bounded Box of shape (K,), not {space}")
