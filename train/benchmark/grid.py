"""What a benchmark trains and tests: a TOML file, checked whole before anything runs."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

import interact_env
from interact_env.population import population
from policies import files, find
from train import evaluate
from train.benchmark.lines import Where, toml_line
from train.config import TrainConfig, count

_LARGEST = 2**20  # bytes
# What a grid decides itself, of the options of `interact-env train`.
_OWN = {"out", "env", "policy", "n_agents", "env_params", "seed", "total_steps", "n_worlds", "batch_size"}
_OWN |= {"match_parameters", "device", "threads", "save_every", "deterministic"}
_OPTIONS = {f.name: type(f.default) for f in dataclasses.fields(TrainConfig) if f.name not in _OWN}


class GridError(ValueError):
    """A grid that cannot be run."""


def _known_options(given: dict[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if name not in _OPTIONS:
            raise ValueError(f"no option {name!r}; there are: {', '.join(_OPTIONS)}")
        kind = _OPTIONS[name]
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(f"{name} must be of type {kind.__name__}, not {value!r}")
    return given


def _unlike(given: list[Any]) -> list[Any]:
    twice = [value for k, value in enumerate(given) if value in given[:k]]
    if twice:
        raise ValueError(f"names {twice[0]!r} twice")
    return given


def _spelled(given: Any) -> str:
    population(count(str(given)))
    return str(given)


Options = Annotated[dict[str, Any], AfterValidator(_known_options)]
Positive = Annotated[int, Field(ge=1, le=10**15, strict=True)]
Agents = Annotated[int, Field(ge=1, le=2**20, strict=True)]
TestCounts = Annotated[list[Agents], Field(min_length=1), AfterValidator(_unlike)]
TrainCount = Annotated[str, BeforeValidator(_spelled)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Place(_Table):
    """A world in which policies are compared."""

    env: str
    parameters: dict[str, Any] = {}  # of the world, without the number of agents
    test_counts: TestCounts | None = None  # others than those of the grid: where more would cost too much
    scripted: list[str] = []  # policies to compare with, beside "random"


class Architecture(_Table):
    """A policy with options."""

    policy: str
    training: Options = {}
    parameters: dict[str, Any] = {}  # of the world: another sight, say


class Arena(_Table):
    """Tests in the arena of so many agents, of whatever number there are."""

    agents: Agents
    test_counts: TestCounts


class Grid(_Table):
    """Worlds x policies x training counts x seeds, and where each is tested."""

    title: str
    worlds: Annotated[dict[str, Place], Field(min_length=1)]
    policies: Annotated[list[str], Field(min_length=1), AfterValidator(_unlike)]
    architectures: dict[str, Architecture] = {}  # what `policies` may name beside registered ones
    train_counts: Annotated[list[TrainCount], Field(min_length=1), AfterValidator(_unlike)]
    test_counts: TestCounts  # at the density of training
    arena: Arena | None = None
    oracle: str  # policy that is trained in every test as well, for reference
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_unlike)]
    agent_steps: Positive  # of every training
    parameters: Annotated[int, Field(ge=0, strict=True)] = 0  # of every network; 0: of each at its own width
    tested_agents: Positive = 2048  # at each test count: of few agents more episodes are watched
    rollout_agents: Positive = 2048  # of all worlds together
    batch_agents: Positive = 2048  # of a minibatch
    training: Options = {}

    def architecture(self, policy: str) -> Architecture:
        """The architecture of a name."""
        return self.architectures.get(policy) or Architecture(policy=policy)

    def places(self, world: str) -> dict[str, dict[str, Any]]:
        """Parameters of a world without its number of agents, by arena; the first is that of training."""
        place = self.worlds[world]
        n = self.test_counts[0] if self.arena is None else self.arena.agents
        found = evaluate.arenas(place.env, {**place.parameters, "n_agents": n})
        return {
            arena: {name: value for name, value in there.items() if name != "n_agents"}
            for arena, there in found.items()
        }

    def tests(self, world: str) -> Iterator[tuple[str, int]]:
        """Arenas and numbers of agents in which policies are tested."""
        density, *constant = self.places(world)
        yield from ((density, n) for n in self.worlds[world].test_counts or self.test_counts)
        if self.arena is not None:
            yield from ((arena, n) for arena in constant for n in self.arena.test_counts)

    def episodes(self, test_count: int) -> int:
        """How many episodes are watched of so many agents."""
        return max(2, -(-self.tested_agents // test_count))

    def config(self, world: str, policy: str, train_count: str, arena: str, seed: int) -> TrainConfig:
        """How a run is trained: on as many agents in a rollout, in a minibatch and in all, at any count."""
        architecture = self.architecture(policy)
        parameters = {**self.places(world)[arena], **architecture.parameters}
        agents = mean_count(train_count)
        return TrainConfig(
            out=Path(),
            env=self.worlds[world].env,
            policy=architecture.policy,
            n_agents=train_count,
            env_params=tuple(f"{name}={value!r}" for name, value in parameters.items()),
            seed=seed,
            total_steps=round(self.agent_steps / agents),
            n_worlds=max(1, round(self.rollout_agents / agents)),
            batch_size=max(2, round(self.batch_agents / agents)),
            match_parameters=self.parameters,
            threads=1,
            device="cpu",
            **{**self.training, **architecture.training},
        )


def mean_count(text: str) -> float:
    """Mean number of agents of "8", "2-16" or "4:1,8:2"."""
    found = population(count(text))
    weights = found.weights or (1.0,) * len(found.counts)
    return sum(n * w for n, w in zip(found.counts, weights, strict=True)) / sum(weights)


def read(path: Path) -> Grid:
    """A grid of which every run can be trained and tested.

    Raises:
        GridError: it is none, or one cannot; with the line.
        LoadError: there is no such file.
    """
    with files.opened_bytes(path) as file:
        text = file.read(_LARGEST).decode(errors="replace")
    try:
        given = tomllib.loads(text)
        grid = Grid(**given)
    except tomllib.TOMLDecodeError as error:
        raise GridError(f"{path}: {error}") from None
    except ValidationError as error:
        # A misspelt key first: it is why another one is missing.
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        raise GridError(_located(path, text, first["loc"], _words(first))) from None
    for where, check in _checks(grid):
        try:
            check()
        except (ValueError, TypeError) as error:
            raise GridError(_located(path, text, where, str(error))) from None
    return grid


def _located(path: Path, text: str, where: Where, why: str) -> str:
    name = ".".join(part for part in where if isinstance(part, str))
    return f"{path}, line {toml_line(text, where)}: {name}: {why}"


def _words(error: Any) -> str:
    """What pydantic found, in our words."""
    if error["type"] == "extra_forbidden":
        return "is no option of a grid"
    if error["type"] == "missing":
        return "is missing"
    why = error["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return why if error["type"] == "value_error" else f"{why}, not {error['input']!r}"


def _checks(grid: Grid) -> Iterator[tuple[Where, Callable[[], object]]]:
    """What must be possible, and where it is asked for."""
    for k, name in enumerate(grid.policies):
        yield ("policies", k), partial(_policy, grid, name)
    yield ("oracle",), partial(_policy, grid, grid.oracle)
    for name, architecture in grid.architectures.items():
        yield ("architectures", name, "policy"), partial(find, architecture.policy)
    yield ("training",), partial(_options, grid.training)
    for name, architecture in grid.architectures.items():
        yield ("architectures", name, "training"), partial(_options, architecture.training)
    for name, place in grid.worlds.items():
        yield ("worlds", name, "env"), partial(interact_env.world, place.env)
        yield ("worlds", name, "parameters"), partial(_world, place)
        for k, scripted in enumerate(place.scripted):
            yield ("worlds", name, "scripted", k), partial(_scripted, place, scripted)
        yield from _fits(grid, name)


def _options(given: dict[str, Any]) -> None:
    TrainConfig(out=Path(), **given).validate()


def _policy(grid: Grid, name: str) -> None:
    if name not in grid.architectures:
        find(name)


def _world(place: Place) -> None:
    if "n_agents" in place.parameters:
        raise ValueError("must not set n_agents: train_counts and test_counts do")
    params = interact_env.world(place.env).params(place.parameters)
    if not params.max_cycles:
        raise ValueError("max_cycles must be a number: episodes have to end to be counted")


def _scripted(place: Place, name: str) -> None:
    known = ("random", *interact_env.world(place.env).POLICIES)
    if name not in known:
        raise ValueError(f"no scripted policy {name!r}; there are: {', '.join(known)}")


def _fits(grid: Grid, world: str) -> Iterator[tuple[Where, Callable[[], object]]]:
    """That so many agents fit into the world, and the options of the runs belong together."""
    params = interact_env.world(grid.worlds[world].env).params
    density, *constant = grid.places(world).values()
    for policy in grid.policies:
        own = grid.architecture(policy).parameters
        yield ("architectures", policy, "parameters"), partial(params, {**density, **own})
    counts = grid.worlds[world].test_counts
    where: Where = ("worlds", world, "test_counts") if counts else ("test_counts",)
    for k, n in enumerate(counts or grid.test_counts):
        yield (*where, k), partial(params, {**density, "n_agents": n})
    for there in constant if grid.arena else ():
        for k, n in enumerate(grid.arena.test_counts if grid.arena else ()):
            yield ("arena", "test_counts", k), partial(params, {**there, "n_agents": n})
    for k, spelled in enumerate(grid.train_counts):
        for policy in grid.policies:
            config = grid.config(world, policy, spelled, next(iter(grid.places(world))), grid.seeds[0])
            yield ("train_counts", k), config.validate
