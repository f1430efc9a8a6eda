"""B worlds on a GPU: their arrays are torch's, and kernels run over them on torch's current stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces

from interact_env.engine.cells import CELLS
from interact_env.engine.cpu import allowed, bounds, fields, over_text
from interact_env.engine.cuda_chip import GPU, SIMULATED, Chip, Simulator
from interact_env.engine.cuda_kernels import checking, kernels, scripted
from interact_env.engine.cuda_pairs import Build, Lists, most_threads, pairs_in, rows_of
from interact_env.engine.pairs import Fields
from interact_env.world import World

# No fault yet, larger than the number of any agent.
_NONE = 2**62


class Plan(NamedTuple):
    """How worlds are spread over a chip."""

    build: Build
    blocks: int
    worlds: int  # of a block
    lanes: int  # threads of a world


def plan(world: World, found: Fields, n_worlds: int, chip: Chip) -> Plan:
    """Spread worlds over a chip."""
    n_slots, rows = len(found.state.alive), rows_of(world.PHASES, found)
    most = most_threads(rows, chip.most)
    lanes, small = min(n_slots, most), min(most, chip.block)
    cells = n_slots >= chip.cells_from and any(phase.near for phase in pairs_in(world.PHASES))
    worlds = 1 if cells else min(n_worlds, max(1, small // lanes))
    blocks = chip.multiprocessors * max(1, chip.threads // (lanes * worlds))
    build = Build(small if lanes * worlds <= small else most, cells, rows)
    return Plan(build, min(-(-n_worlds // worlds), blocks), worlds, lanes)


class Engine:
    """Keeps the arrays of B worlds in torch tensors on a GPU and launches the kernels over them."""

    states = 1  # of every world: a copy is kept of those at work only

    def __init__(self, device: str, world: World, space: spaces.Space[Any]) -> None:
        """Find the GPU.

        Raises:
            ValueError: it cannot be used, with the reason.
        """
        self._world, self._space = world, space
        self._gpu = Simulator() if SIMULATED else GPU(device)
        self.device = device if SIMULATED else str(self._gpu.device)

    def free_memory(self) -> int:
        """Bytes."""
        return self._gpu.free_memory()

    def array(self, values: np.ndarray) -> torch.Tensor:
        """A tensor of the engine's own."""
        return torch.from_numpy(values.copy()).to(self._gpu.device)

    def copy(self, array: torch.Tensor) -> torch.Tensor:
        """Another tensor of the same numbers."""
        return array.clone()

    def host(self, array: torch.Tensor) -> np.ndarray:
        """The array in numpy; waits for the GPU."""
        return array.cpu().numpy()

    def write(self, array: torch.Tensor, values: np.ndarray) -> None:
        """Overwrite a tensor of the engine's own."""
        array.copy_(torch.from_numpy(np.ascontiguousarray(values)))

    def bind(self, arrays: Any) -> None:
        """Take the arrays that the kernels work on."""
        self._own = arrays
        found = fields(self._world, arrays.params)
        one = type(arrays.state)(*(self.host(f[0]) for f in arrays.state))
        self._plan = plan(self._world, found._replace(state=one), len(arrays.over), self._gpu.chip)
        self._kernels = kernels(self._world, self._plan.build)
        at_work = self._plan.blocks * self._plan.worlds
        before = (f.new_zeros((at_work, *f.shape[1:])) for f in arrays.state)
        self._before = self._shared(type(arrays.state)(*before))
        self._lists = self._shared(self._blank_lists())
        low, high = bounds(self._space)
        self._low, self._high = self.array(low), self.array(high)
        self._good = self.blank_actions()
        self._faults = torch.full((2,), _NONE, device=self._gpu.device)
        self._arrays = self._shared(arrays)

    def _blank_lists(self) -> Lists:
        build, state = self._plan.build, self._own.state
        blocks, n = self._plan.blocks, state.alive.shape[1] if build.cells else 1
        fields = (getattr(state, name) for name, _, _ in build.rows if build.cells)
        packed = tuple(f.new_zeros((blocks, *f.shape[1:])) for f in fields)
        order, start = (
            torch.zeros((blocks, m), dtype=torch.int32, device=self._gpu.device) for m in (n, CELLS * n + 2)
        )
        return Lists(packed, order, start)

    def _shared(self, value: Any) -> Any:
        """Tensors as a kernel takes them, in NamedTuples of NamedTuples too."""
        if isinstance(value, torch.Tensor):
            return self._gpu.share(value)
        if not isinstance(value, tuple):
            return value
        parts = map(self._shared, value)
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)

    def chosen(self, mask: torch.Tensor | None) -> torch.Tensor:
        """The worlds that a mask chooses.

        Raises:
            ValueError: another shape, dtype or device.
        """
        if mask is None:
            return torch.ones_like(self._own.over)
        return self._like("mask", mask, self._own.over)

    def blank_actions(self) -> torch.Tensor:
        """Zeros (B, L) int64 or (B, L, K) float32."""
        shape = (*self._own.state.alive.shape, *(self._space.shape or ()))
        return self._low.new_zeros(shape)

    def checked(self, actions: Any) -> torch.Tensor:
        """Actions, with the least allowed in place of bad ones, which are noted for `raise_faults`.

        Raises:
            ValueError: another shape, dtype or device.
        """
        good = self._good
        actions = self._like("actions", actions, good)
        shape, share = (*self._own.state.alive.shape, -1), self._gpu.share
        self._launch_each(
            checking(self._plan.build.most),
            share(actions.view(shape)),
            share(self._low),
            share(self._high),
            self._arrays.state.alive,
            self._arrays.over,
            share(good.view(shape)),
            share(self._faults),
        )
        return good

    def _like(self, name: str, given: Any, like: torch.Tensor) -> torch.Tensor:
        if not isinstance(given, torch.Tensor):
            raise ValueError(f"{name} must be a tensor on {like.device}, not a {type(given).__name__}")
        if (given.shape, given.dtype, given.device) != (like.shape, like.dtype, like.device):
            raise ValueError(f"{name} must be {_words(like)}, not {_words(given)}")
        return given.contiguous()

    def raise_faults(self) -> None:
        """Raise what `checked` noted since the last time.

        Raises:
            ValueError: an action was not allowed.
            RuntimeError: a world was over.
        """
        action, over = self._faults.tolist()
        self._faults.fill_(_NONE)
        if over != _NONE:
            raise RuntimeError(over_text(over, int(self._own.clock.episode[over])))
        if action != _NONE:
            b, i = divmod(action, self._own.state.alive.shape[1])
            raise ValueError(f"actions[{b}, {i}] must be {allowed(self._space)}, and was not at some step")

    def step(self, actions: torch.Tensor) -> None:
        """Advance every world by actions that are known to be good."""
        params, _, _, state, clock, out, over = self._arrays
        actions = self._gpu.share(actions)
        self._launch(self._kernels.step, params, state, self._before, self._lists, actions, clock, out, over)

    def reset(self, mask: torch.Tensor) -> None:
        """Start the next episode of the worlds that `mask` chooses."""
        params, seed, population, state, clock, out, over = self._arrays
        mask = self._gpu.share(mask)
        self._launch(self._kernels.reset, params, seed, population, mask, state, clock, out, over)

    def visible(self) -> torch.Tensor:
        """(B, L, L) bool, who sees whom."""
        n_worlds, n_slots = self._own.state.alive.shape
        out = self._own.over.new_empty((n_worlds, n_slots, n_slots))
        params, state = self._arrays.params, self._arrays.state
        self._launch_each(self._kernels.visible, params, state, self._gpu.share(out))
        return out

    def act(self, policy: Callable[..., None], out: torch.Tensor) -> None:
        """Fill in the actions of every living agent by a policy."""
        params, seed, _, state, clock, _, _ = self._arrays
        kernel = scripted(self._world, policy, self._plan.build.most)
        self._launch_each(kernel, params, seed, state, clock, self._gpu.share(out))

    def _launch_each(self, kernel: Any, *arguments: Any) -> None:
        self._launch(kernel, *self._own.state.alive.shape, arguments)

    def _launch(self, kernel: Any, *arguments: Any) -> None:
        _, blocks, worlds, lanes = self._plan
        self._gpu.launch(kernel, blocks, (lanes, worlds), *arguments)


def _words(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)} on {tensor.device}"
