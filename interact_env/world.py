"""What a world is: the contract between one file of rules and everything that runs it."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from interact_env import check
from interact_env.population import population


class Column(NamedTuple):
    """One column of an entity row, as plain data that a policy can be built from.

    Attributes:
        name: what the column holds.
        kind: "position" (a coordinate), "category" (an integer in [0, size)) or "real".
        low, high: bounds of the value, in `unit`.
        unit: physical unit, for people.
        size: categories of a category; for a position the longest wavelength that fits every arena
            of this world a whole number of times (0: none, the axis does not wrap).
    """

    name: str
    kind: str
    low: float
    high: float
    unit: str
    size: int = 0


class Near(NamedTuple):
    """How far apart two agents give each other nothing, so that only neighbours are looked at.

    Attributes:
        reach: rule reach(params, state) -> the distance along an axis beyond which a pair gives 0.
        place: rule place(params, state, i) -> 2 or 3 coordinates of agent i in [0, 1].

    Both in units of the arena's side. Opposite edges count as adjacent, which a world with walls need not
    mind: `pair` itself refuses whom it meets in vain. Who is outside is taken to be at the edge.
    """

    reach: Callable[..., float]
    place: Callable[..., tuple[float, ...]]


class Pairs(NamedTuple):
    """A phase about pairs: every agent gets the sum of what each other agent gives it.

    The engine chooses the order, and which pairs it need not ask for: `pair` reads no other rows of
    `state` than i and j, which is what the phases before it left, and not the field that it is summed
    into. Floats are added in the order of j. It may be asked about i and i too, or about a row of zeros, and
    the answer dropped: so several pairs can be done at a time.

    Attributes:
        pair: rule pair(params, state, i, j) -> what agent i gets from j: a number, or a tuple of M.
        into: name of the field of State that row i of gets the sum: (L,), or (L, M) for M numbers.
        near: for sums of whole numbers over short distances: makes the cost grow with the number of
            neighbours, not of agents.
    """

    pair: Callable[..., Any]
    into: str
    near: Near | None = None


class Repeat(NamedTuple):
    """Phases that run several times in a step, as an integrator's substeps do.

    Attributes:
        times: rule times(params) -> how often.
        phases: run one after the other, each finished for every agent before the next begins.
    """

    times: Callable[..., int]
    phases: tuple[Phase, ...]


Phase = Callable[..., None] | Pairs | Repeat

# Parameters of every world, beside those of its configure().
COMMON = {"dtype": "float32"}
PRECISIONS = ("float32", "float64")
REQUIRED = {
    "configure": "configure(n_agents=..., **parameters) -> Params, validated",
    "blank": "blank(params) -> State of zeroed arrays for one world",
    "columns": "columns(params) -> tuple of Column, what an entity row holds",
    "action_space": "action_space(params) -> Discrete or Box of one agent",
    "METRICS": "METRICS, names of the per-agent numbers that score() writes",
    "PHASES": "PHASES, rules phase(params, state, action, i, after), Pairs, or Repeat of them, run in turn",
    "spawn": "spawn(params, key, n, i, state), rule that places agent i of n",
    "score": "score(params, state, action, i, after, metrics) -> reward, rule",
    "observe": "observe(params, state, i, row), rule that writes the entity row of agent i",
    "scene": "scene(params, state) -> Scene, plain shapes for the viewer",
}


@dataclasses.dataclass(frozen=True, eq=False)
class World:
    """The rules of one world and its name; `interact_env.register` makes it from a module.

    Rules are compiled with `interact_env.rule` and concern one agent `i` of one world. `State` is a
    NamedTuple of arrays with a boolean `alive (L,)` among them; `Params` is a NamedTuple of scalars and
    constant arrays with `n_min`, `n_max`, `max_cycles` (0: no limit) and `vision_radius` (inf: sees
    all) among them. The engine gives every float of both the `dtype` that the user chose, and draws
    the number of agents: `configure` gets `n_agents` as a number or a (low, high) range.

    A phase reads what the phases before it finished for all agents and writes rows `i` of `after`
    only; sums over pairs of agents are phases of their own, see `Pairs`. `score` alone may clear
    `after.alive[i]`: that agent has left. Optional are
    `begin(params, key, n, state)`, a rule that runs before the agents are placed;
    `visible(params, state, i, j) -> bool`, a rule, for worlds of limited sight;
    `arena_size(params, n)`, the side of the arena of n agents, for worlds with parameters `size`
    and `density`; POLICIES, scripted ones by name: rules `policy(params, key, state, i, clock, action)`
    that write `action[i]`; and KEYS, for manual play: the number of a discrete action by the name of
    its key, as {"right": 1}; with no key down it is 0.
    """

    name: str
    module: str
    configure: Callable[..., Any]
    blank: Callable[[Any], Any]
    columns: Callable[[Any], tuple[Column, ...]]
    action_space: Callable[[Any], spaces.Space[Any]]
    METRICS: tuple[str, ...]
    PHASES: tuple[Phase, ...]
    spawn: Callable[..., None]
    score: Callable[..., float]
    observe: Callable[..., None]
    scene: Callable[..., Any]
    begin: Callable[..., None] | None = None
    visible: Callable[..., bool] | None = None
    arena_size: Callable[..., float] | None = None
    POLICIES: Mapping[str, Callable[..., None]] = dataclasses.field(default_factory=dict)
    KEYS: Mapping[str, int] = dataclasses.field(default_factory=dict)
    summary: str = ""

    @classmethod
    def from_module(cls, name: str, module: ModuleType) -> World:
        """Read the rules from a module.

        Raises:
            ValueError: a required name is missing; the message lists each with its signature.
        """
        missing = [text for key, text in REQUIRED.items() if not hasattr(module, key)]
        if missing:
            raise ValueError(f"world {name!r} ({module.__name__}) lacks: " + "; ".join(missing))
        _check_defaults(name, module.configure)
        names = [f.name for f in dataclasses.fields(cls) if f.name not in ("name", "module", "summary")]
        names = [name for name in names if hasattr(module, name)]
        summary = (inspect.getdoc(module) or "").partition("\n")[0]
        rules = {key: getattr(module, key) for key in names}
        world = cls(name=name, module=module.__name__, summary=summary, **rules)
        _worlds[name, module.__name__] = world
        return world

    def __reduce__(self) -> tuple[Any, ...]:
        # Compiled rules are found again by name: a pickle of a world carries no code.
        return _find, (self.name, self.module)

    def parameters(self) -> dict[str, Any]:
        """Every parameter with its default: those of `configure`, and `dtype`."""
        own = inspect.signature(self.configure).parameters.values()
        return {p.name: p.default for p in own} | COMMON

    def params(self, given: Mapping[str, Any]) -> Any:
        """Validated Params, their floats in the precision of `dtype` ("float32" or "float64").

        Raises:
            ValueError: an unknown parameter, or a value that is not allowed, by name.
        """
        known = self.parameters()
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ValueError(
                f"{self.name} has no parameter {', '.join(map(repr, unknown))}; it has: {', '.join(known)}"
            )
        own = {name: value for name, value in given.items() if name not in COMMON}
        if "n_agents" in own:
            low, high = population(own["n_agents"]).range
            own["n_agents"] = low if low == high else (low, high)
        params = self.configure(**own)
        dtype = precision({**known, **given}["dtype"])
        return type(params)(*(_cast(value, dtype) for value in params))


def _cast(value: Any, dtype: np.dtype[Any]) -> Any:
    """A float, or an array of floats, in another precision; anything else as it is."""
    if isinstance(value, float | np.floating):
        return dtype.type(value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(dtype)
    return value


def _check_defaults(name: str, configure: Callable[..., Any]) -> None:
    parameters = inspect.signature(configure).parameters
    if "n_agents" not in parameters:
        raise ValueError(f"world {name!r}: configure lacks the parameter n_agents")
    for parameter in parameters.values():
        if parameter.default is parameter.empty:
            raise ValueError(f"world {name!r}: configure needs a default for {parameter.name}")


def precision(dtype: Any) -> np.dtype[Any]:
    """The dtype of a world's floats.

    Raises:
        ValueError: neither "float32" nor "float64".
    """
    if isinstance(dtype, type | np.dtype):  # np.float64 and the like
        dtype = np.dtype(dtype).name
    return np.dtype(check.one_of("dtype", dtype, PRECISIONS))


_worlds: dict[tuple[str, str], World] = {}


def _find(name: str, module: str) -> World:
    found = _worlds.get((name, module))
    return found or World.from_module(name, importlib.import_module(module))
