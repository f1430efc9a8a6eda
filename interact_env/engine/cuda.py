"""The loops over worlds and agents as kernels of a GPU, on arrays that torch owns.

A thread is an agent. Small worlds share a block; in a world larger than a block, a thread takes every
`stride`-th agent. Between phases the threads of a block wait for each other, so a world never spreads over
two blocks. A grid fills the GPU once and goes through the worlds in turn: what a step starts from (`before`)
is kept for the worlds at work only, few enough to stay in the cache.

Kernels are tested by numba's simulator (`NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1`), with torch's
CPU tensors in place of a GPU's; what differs there is in `_GPU` and `_Simulator`, and nowhere else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from interact_env.engine.cpu import (
    COUNT,
    _sees,
    allowed,
    bounds,
    draw_count,
    key_of,
    over_text,
    view_of,
)
from interact_env.engine.generated import generated
from interact_env.engine.random import WORLD, bits
from interact_env.engine.rule import rule
from interact_env.world import Pairs, Repeat, World

_missing = [
    name for name, module in (("torch", "torch"), ("numba-cuda", "numba_cuda")) if not find_spec(module)
]
if _missing:
    raise ValueError(f"device 'cuda' needs {' and '.join(_missing)}: pip install 'interact-env[cuda]'")

import torch  # noqa: E402
from numba import cuda  # noqa: E402
from numba.cuda.core import config  # noqa: E402

# NUMBA_ENABLE_CUDASIM=1: no GPU, kernels are plain Python.
SIMULATED = bool(config.ENABLE_CUDASIM)
# No fault yet, larger than the number of any agent.
_NONE = 2**62


class Mine(NamedTuple):
    """The agents of a world that are a thread's: first, first + stride, ... below end.

    Gone through by `while`: `range` with a stride divides 64-bit integers, which a GPU does slowly.
    """

    first: int
    end: int
    stride: int


class Kernels(NamedTuple):
    """The kernels of one world."""

    step: Any
    reset: Any
    visible: Any


@functools.cache
def kernels(world: World, most_threads: int) -> Kernels:
    """The kernels of `world` for blocks of at most so many threads; each compiles at its first launch."""
    state: Any = world.blank(world.configure())
    names, view = state._fields, view_of(state)
    copy = generated(
        "copy(source, target, mine)", "{share(source.FIELD, target.FIELD, mine);}", names, share=_share
    )
    clear = generated("clear(state, mine)", "{empty(state.FIELD, mine);}", names, empty=_empty)
    jit = _jit(most_threads)
    return Kernels(
        step=jit(_step(world, view, copy)),
        reset=jit(_reset(world, view, clear)),
        visible=jit(_visible(view, _sees(world))),
    )


def _jit(most_threads: int) -> Callable[..., Any]:
    """The decorator of a kernel: a bound of 1024 threads leaves each 64 registers, one of 256 all."""
    options: dict[str, Any] = {} if SIMULATED else {"launch_bounds": most_threads}
    return cuda.jit(**options)


@rule
def _share(source, target, mine):
    """Copy what is a thread's share of an array."""
    k, end = mine.first, source.size if mine.end > 0 else 0
    while k < end:
        target.flat[k] = source.flat[k]
        k += mine.stride


@rule
def _empty(target, mine):
    k, end = mine.first, target.size if mine.end > 0 else 0
    while k < end:
        target.flat[k] = 0
        k += mine.stride


def _in_turn(phases: tuple[Any, ...], state: Any) -> Callable[..., None]:
    """All phases in turn: each is finished for every agent before the next begins."""

    def then(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
        @cuda.jit(device=True)
        def both(params, state, actions, after, mine):
            first(params, state, actions, after, mine)
            second(params, state, actions, after, mine)

        return both

    return functools.reduce(then, [_sweep(phase, state) for phase in phases])


def _sweep(phase: Any, state: Any) -> Callable[..., None]:
    """One phase for the agents of a thread, then a barrier; or several as often as their Repeat says."""
    if isinstance(phase, Repeat):
        times, once = phase.times, _in_turn(phase.phases, state)

        @cuda.jit(device=True)
        def again(params, state, actions, after, mine):
            for _ in range(times(params)):
                once(params, state, actions, after, mine)

        return again

    if isinstance(phase, Pairs):
        phase = _sum_of(phase, getattr(state, phase.into))

    @cuda.jit(device=True)
    def sweep(params, state, actions, after, mine):
        i = mine.first
        while i < mine.end:
            if state.alive[i]:
                phase(params, state, actions, i, after)
            i += mine.stride
        cuda.syncthreads()

    return sweep


def _sum_of(pairs: Pairs, field: np.ndarray) -> Callable[..., None]:
    """A phase that sums over all pairs of agent i, in the order of j, as the CPU does."""
    names = [f"s{k}" for k in range(field.shape[1] if field.ndim > 1 else 1)]
    given = ", ".join("g" + name for name in names)
    lines = [
        "def total(params, state, action, i, after):",
        f"    {' = '.join(names)} = after.{pairs.into}.dtype.type(0)",
        "    for j in range(after.alive.size):",
        "        if after.alive[j] and j != i:",
        f"            {given} = pair(params, after, i, j)",
        *(f"            {name} += g{name}" for name in names),
        *(f"    after.{pairs.into}[i{f', {k}' * (field.ndim > 1)}] = {name}" for k, name in enumerate(names)),
    ]
    namespace: dict[str, Any] = {"pair": pairs.pair}
    exec("\n".join(lines), namespace)  # noqa: S102  # our own text and a field's name only
    return rule(namespace["total"])


def _show(world: World) -> Callable[..., None]:
    observe = world.observe

    @rule
    def show(params, state, rows, mine):
        i = mine.first
        while i < mine.end:
            if state.alive[i]:
                observe(params, state, i, rows[i])
            else:
                _zero(rows[i])
            i += mine.stride

    return show


@rule
def _zero(row):
    for k in range(row.size):
        row[k] = 0


def _step(world: World, view: Callable[..., Any], copy: Callable[..., None]) -> Callable[..., None]:
    blank = world.blank(world.configure())
    phases, score, show = _in_turn(world.PHASES, blank), world.score, _show(world)

    def step(params, batch, batch_before, actions, clock, out, over, lanes):
        n_worlds, n_slots = batch.alive.shape
        lane, place = cuda.threadIdx.x % lanes, cuda.threadIdx.x // lanes
        per_block = cuda.blockDim.x // lanes
        before = view(batch_before, cuda.blockIdx.x * per_block + place)
        # All threads of a block go round equally often: those without a world wait at its barriers too.
        first = cuda.blockIdx.x * per_block
        while first < n_worlds:
            b = min(first + place, n_worlds - 1)
            mine = Mine(lane, n_slots if first + place < n_worlds else 0, lanes)
            state = view(batch, b)
            copy(state, before, mine)
            truncated = clock.steps[b] + 1 == params.max_cycles
            leads = lane == 0 and mine.end > 0
            if leads:
                over[b] = True  # unless one who goes on says no
            cuda.syncthreads()
            if leads:
                clock.steps[b] += 1
                out.truncated[b] = truncated
            phases(params, before, actions[b], state, mine)
            i = lane
            while i < mine.end:
                if before.alive[i]:
                    out.reward[b, i] = score(params, before, actions[b], i, state, out.metrics[b, i])
                    out.terminated[b, i] = not state.alive[i]
                    if state.alive[i] and not truncated:
                        over[b] = False
                else:
                    out.reward[b, i] = 0
                    out.terminated[b, i] = False
                    _zero(out.metrics[b, i])
                i += lanes
            cuda.syncthreads()
            show(params, state, out.rows[b], mine)
            first += cuda.gridDim.x * per_block

    return step


def _reset(world: World, view: Callable[..., Any], clear: Callable[..., None]) -> Callable[..., None]:
    begin, spawn, show = world.begin or rule(lambda params, key, n, state: None), world.spawn, _show(world)

    def reset(params, seed, population, mask, batch, clock, out, over, lanes):
        n_worlds, n_slots = batch.alive.shape
        lane, place = cuda.threadIdx.x % lanes, cuda.threadIdx.x // lanes
        per_block = cuda.blockDim.x // lanes
        first = cuda.blockIdx.x * per_block
        while first < n_worlds:
            b = min(first + place, n_worlds - 1)
            mine = Mine(lane, n_slots if first + place < n_worlds and mask[b] else 0, lanes)
            leads = lane == 0 and mine.end > 0
            state = view(batch, b)
            clear(state, mine)
            cuda.syncthreads()  # all have read the mask, which may be `over`
            if leads:
                clock.episode[b] += 1
                clock.steps[b] = 0
                key = key_of(seed, clock, b)
                clock.n_agents[b] = draw_count(population, bits(key, WORLD, COUNT)[0])
                begin(params, key, clock.n_agents[b], state)
                out.truncated[b] = False
                over[b] = False
            cuda.syncthreads()
            key, n = key_of(seed, clock, b), clock.n_agents[b]
            i = lane
            while i < mine.end:
                if i < n:
                    spawn(params, key, n, i, state)
                    state.alive[i] = True
                out.reward[b, i] = 0
                out.terminated[b, i] = False
                _zero(out.metrics[b, i])
                i += lanes
            cuda.syncthreads()
            show(params, state, out.rows[b], mine)
            first += cuda.gridDim.x * per_block

    return reset


def _visible(view: Callable[..., Any], sees: Callable[..., bool]) -> Callable[..., None]:
    def visible(params, batch, out):
        n_slots = out.shape[1]
        for k in range(cuda.grid(1), out.size, cuda.gridsize(1)):
            pair, j = k // n_slots, k % n_slots
            b, i = pair // n_slots, pair % n_slots
            state = view(batch, b)
            both = state.alive[i] and state.alive[j]
            out[b, i, j] = both and (i == j or sees(params, state, i, j))

    return visible


@functools.cache
def scripted(world: World, policy: Callable[..., None]) -> Any:
    """The kernel that lets every agent choose by a policy, such as a scripted one of the world."""
    view = view_of(world.blank(world.configure()))

    def act(params, seed, batch, clock, out):
        n_slots = batch.alive.shape[1]
        for k in range(cuda.grid(1), batch.alive.size, cuda.gridsize(1)):
            b, i = k // n_slots, k % n_slots
            if batch.alive[b, i]:
                policy(params, key_of(seed, clock, b), view(batch, b), i, clock.steps[b], out[b])

    return _jit(_FLAT)(act)


def _check(actions, low, high, alive, over, good, faults):
    """Copy actions (B, L, K) that are allowed to `good`, the least in place of others; note the first."""
    n_slots, n = alive.shape[1], low.size
    for k in range(cuda.grid(1), alive.size, cuda.gridsize(1)):
        b, i = k // n_slots, k % n_slots
        for a in range(n):
            action = actions[b, i, a]
            allowed = low[a] <= action <= high[a]  # not so for NaN
            good[b, i, a] = action if allowed else low[a]
            if alive[b, i] and not allowed:
                cuda.atomic.min(faults, 0, k)
        if over[b]:
            cuda.atomic.min(faults, 1, b)


# Threads of a block of the kernels that have no barrier.
_FLAT = 256


class Chip(NamedTuple):
    """How many threads run at once."""

    multiprocessors: int
    threads: int  # of a multiprocessor
    block: int  # that small worlds share
    most: int  # of a block


class _GPU:
    """torch's tensors on a GPU, as numba's arrays, and launches on torch's current stream."""

    def __init__(self, device: str) -> None:
        try:
            torch.cuda.init()
            index = torch.device(device).index
            self.device = torch.device("cuda", torch.cuda.current_device() if index is None else index)
            chip = torch.cuda.get_device_properties(self.device)
            with torch.cuda.device(self.device):
                torch.zeros(1, device=self.device)
                cuda.current_context()
        except Exception as error:  # torch and numba each have their own
            why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ValueError(f"device {device!r} cannot be used: {why.strip().rstrip(':')}") from None
        self.chip = Chip(chip.multi_processor_count, chip.max_threads_per_multi_processor, 256, 1024)
        config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small batch is meant to be small

    def share(self, tensor: torch.Tensor) -> Any:
        """The same memory for a kernel."""
        with torch.cuda.device(self.device):
            return cuda.as_cuda_array(tensor.detach(), sync=False)

    def launch(self, kernel: Any, blocks: int, threads: int, *arguments: Any) -> None:
        """Run a kernel after what is on torch's current stream."""
        with torch.cuda.device(self.device):
            stream = torch.cuda.current_stream().cuda_stream
            kernel[blocks, threads, stream and cuda.external_stream(stream)](*arguments)


class _Simulator:
    """torch's CPU tensors, and a chip so small that a few agents need several blocks, rounds and strides."""

    device = torch.device("cpu")
    chip = Chip(2, 8, 8, 8)

    def share(self, tensor: torch.Tensor) -> Any:
        """The same memory for a kernel."""
        return tensor.detach().numpy()

    def launch(self, kernel: Any, blocks: int, threads: int, *arguments: Any) -> None:
        """Run a kernel."""
        kernel[blocks, threads](*arguments)


class Engine:
    """Keeps the arrays of B worlds in torch tensors on a GPU and launches the kernels over them."""

    def __init__(self, device: str, world: World, space: spaces.Space[Any]) -> None:
        """Find the GPU.

        Raises:
            ValueError: it cannot be used, with the reason.
        """
        self._world, self._space = world, space
        self._gpu = _Simulator() if SIMULATED else _GPU(device)
        self.device = device if SIMULATED else str(self._gpu.device)

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
        n_worlds, n_slots = arrays.state.alive.shape
        chip = self._gpu.chip
        self._lanes = min(n_slots, chip.most)
        per_block = min(n_worlds, max(1, chip.block // self._lanes))
        self._threads = self._lanes * per_block
        self._blocks = min(
            -(-n_worlds // per_block), chip.multiprocessors * max(1, chip.threads // self._threads)
        )
        before = (f.new_zeros((self._blocks * per_block, *f.shape[1:])) for f in arrays.state)
        low, high = bounds(self._space)
        self._own = arrays
        self._low, self._high = self.array(low), self.array(high)
        self._good = self.blank_actions()
        self._faults = torch.full((2,), _NONE, device=self._gpu.device)
        self._kernels = kernels(self._world, 256 if self._threads <= 256 else 1024)
        self._arrays, self._before = self._shared(arrays), self._shared(type(arrays.state)(*before))

    def _shared(self, value: Any) -> Any:
        """Tensors as a kernel takes them, in NamedTuples of NamedTuples too."""
        if isinstance(value, torch.Tensor):
            return self._gpu.share(value)
        return type(value)(*map(self._shared, value)) if isinstance(value, tuple) else value

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
        shape = (*self._own.state.alive.shape, -1)
        share = self._gpu.share
        self._flat(
            _check_kernel(),
            self._own.state.alive.numel(),
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
        self._worlds(
            self._kernels.step, params, state, self._before, self._gpu.share(actions), clock, out, over
        )

    def reset(self, mask: torch.Tensor) -> None:
        """Start the next episode of the worlds that `mask` chooses."""
        params, seed, population, state, clock, out, over = self._arrays
        mask = self._gpu.share(mask)
        self._worlds(self._kernels.reset, params, seed, population, mask, state, clock, out, over)

    def visible(self) -> torch.Tensor:
        """(B, L, L) bool, who sees whom."""
        n_worlds, n_slots = self._own.state.alive.shape
        out = self._own.over.new_empty((n_worlds, n_slots, n_slots))
        self._flat(
            self._kernels.visible, out.numel(), self._arrays.params, self._arrays.state, self._gpu.share(out)
        )
        return out

    def act(self, policy: Callable[..., None], out: torch.Tensor) -> None:
        """Fill in the actions of every living agent by a policy."""
        params, seed, _, state, clock, _, _ = self._arrays
        kernel = scripted(self._world, policy)
        self._flat(kernel, self._own.state.alive.numel(), params, seed, state, clock, self._gpu.share(out))

    def _worlds(self, kernel: Any, *arguments: Any) -> None:
        """Launch a kernel that goes through worlds."""
        self._gpu.launch(kernel, self._blocks, self._threads, *arguments, self._lanes)

    def _flat(self, kernel: Any, n: int, *arguments: Any) -> None:
        """Launch a kernel that goes through n numbers."""
        chip = self._gpu.chip
        most = chip.multiprocessors * max(1, chip.threads // chip.block)
        self._gpu.launch(kernel, min(-(-n // chip.block), most), chip.block, *arguments)


@functools.cache
def _check_kernel() -> Any:
    return _jit(_FLAT)(_check)


def _words(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)} on {tensor.device}"
