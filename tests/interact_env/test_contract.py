"""The contract over everything that is registered, and over worlds that are broken on purpose."""

import types
from typing import NamedTuple

import numpy as np
import pytest
import springs
from gymnasium import spaces
from worlds import CASES, IDS, PARAMETERS

import interact_env
from interact_env import Column, InvalidWorld, World, rule, validate
from interact_env.render import Circle, Scene
from interact_env.world import Near, Pairs


@pytest.mark.parametrize(("world", "parameters"), CASES, ids=IDS)
def test_every_world_keeps_the_contract(world, parameters):
    validate(world, **parameters)


def test_every_registered_world_is_tested():
    worlds = interact_env.registered().items()
    ours = {name for name, world in worlds if world.module.startswith("interact_env.worlds")}
    assert ours | {"springs_v0"} == PARAMETERS.keys()


def test_a_module_can_be_validated_before_it_is_registered():
    validate(springs, n_agents=3)


# What is wrong with each world below, and the words that must say so.
@rule
def spawns_by_a_hidden_generator(params, key, n, i, state):
    state.position[i, 0] = np.random.random()


@rule
def moves_by_a_hidden_generator(params, state, action, i, after):
    after.position[i, 0] = 0.1 * np.random.random()


@rule
def scores_by_a_hidden_generator(params, state, action, i, after, metrics):
    metrics[0] = np.random.random()
    return metrics[0]


@rule
def spawns_beside_the_agent_before(params, key, n, i, state):
    state.position[i, 0] = state.position[i - 1, 0] + 0.1 if i > 0 else 0.1


@rule
def spawns_outside(params, key, n, i, state):
    state.position[i, 0] = 100 * i


@rule
def reads_half_written(params, state, action, i, after):
    total = np.float32(0)
    for j in range(state.alive.size):
        total += after.position[j, 0]
    after.position[i, 0] = np.float32(0.1) * total + np.float32(0.01) * action[i, 0]


@rule
def moves_its_neighbour(params, state, action, i, after):
    after.position[(i + 1) % state.alive.size, 0] += np.float32(0.01)


@rule
def moves_in_the_past(params, state, action, i, after):
    state.position[i, 0] += np.float32(0.01)


@rule
def leaves_while_moving(params, state, action, i, after):
    after.alive[i] = False


@rule
def scores_nan(params, state, action, i, after, metrics):
    metrics[0] = 0
    return np.float32(np.nan) if i == 1 else np.float32(0)


@rule
def scores_infinity_late(params, state, action, i, after, metrics):
    metrics[0] = 0
    x = after.position[i, 0]
    return np.float32(1) / max(np.float32(0), np.float32(1.2) - abs(x))


@rule
def forgets_its_metric(params, state, action, i, after, metrics):
    return np.float32(0)


@rule
def revives(params, state, action, i, after, metrics):
    metrics[0] = 0
    after.alive[(i + 1) % state.alive.size] = True
    return np.float32(0)


@rule
def counts_those_who_left_before(params, state, action, i, after, metrics):
    metrics[0] = 0
    for j in range(state.alive.size):
        metrics[0] += after.alive[j]
    after.alive[i] = False
    return np.float32(metrics[0])


@rule
def forgets_a_column(params, state, i, row):
    row[0], row[1], row[2] = state.position[i, 0], state.position[i, 1], state.velocity[i, 0]


@rule
def writes_while_observing(params, state, i, row):
    row[0] = row[1] = row[2] = row[3] = 0
    state.velocity[i, 0] += np.float32(1)


@rule
def chooses_too_much(params, key, state, i, clock, action):
    action[i, 0] = 2


@rule
def writes_past_its_row(params, state, i, row):
    row[0] = row[1] = row[2] = row[3] = row[4] = 0


@rule
def writes_past_its_metrics(params, state, action, i, after, metrics):
    metrics[0] = metrics[1] = 0
    return np.float32(0)


@rule
def moves_whom_is_not_there(params, state, action, i, after):
    after.position[state.alive.size, 0] = 1


@rule
def sees_at_random(params, state, i, j):
    return np.random.random() < 0.5


@rule
def observes_at_random(params, state, i, row):
    row[0] = row[1] = row[2] = row[3] = np.random.random()


@rule
def acts_for_another(params, key, state, i, clock, action):
    action[i, 0] = 0
    action[0, 1] = -1


@rule
def acts_as_another(params, key, state, i, clock, action):
    action[i, 0] = 0.5 if action[0, 0] == 0 else 0.0


@rule
def counts_the_absent(params, state, action, i, after, metrics):
    metrics[0] = 0
    for j in range(state.alive.size):
        metrics[0] += after.position[j, 0] > 0.1
    return metrics[0]


@rule
def takes_too_few(params, i, row):
    row[0] = 0


@rule
def reads_what_is_not_there(params, state, i, row):
    row[0] = stat.position[i, 0]  # noqa: F821


class Counting(NamedTuple):
    alive: np.ndarray
    position: np.ndarray
    velocity: np.ndarray
    others: np.ndarray


def counts(dtype=np.int32, shape=()):
    def blank(params):
        return Counting(*springs.blank(params), np.zeros((params.n_max, *shape), dtype))

    return blank


@rule
def one_each(params, state, i, j):
    return np.int32(1)


@rule
def two_each(params, state, i, j):
    return np.int32(1), np.int32(2)


@rule
def counts_a_third(params, state, i, j):
    return np.int32(state.position[0, 0] > state.position[i, 0])


@rule
def gives_at_random(params, state, i, j):
    return np.int32(1000 * np.random.random())


@rule
def adds_up(params, state, i, j):
    return state.others[j] + np.int32(1)


@rule
def writes_for_a_pair(params, state, i, j):
    state.velocity[i, 0] += np.float32(1)
    return np.int32(1)


@rule
def within_a_tenth(params, state):
    return np.float32(0.1)


@rule
def in_six(params, state, i):
    return state.position[i, 0] / np.float32(6) + np.float32(0.5), np.float32(0)


@rule
def on_a_line(params, state, i):
    return (state.position[i, 0] / np.float32(6) + np.float32(0.5),)


def pairs(*phase, **blank):
    return {"PHASES": (springs.drift, Pairs(*phase)), "blank": counts(**blank)}


def arena(params, n):
    return 1.0


def not_compiled(params, key, n, i, state):
    state.position[i, 0] = 1


def state_without_alive(params):
    return springs.State(np.zeros(params.n_max), *np.zeros((2, params.n_max, 2)))


def state_of_lists(params):
    return springs.State(np.zeros(params.n_max, np.bool_), [0.0], [0.0])


def ignores_counts(n_agents=4):
    return springs.configure(4)


def springs_of_four():
    return springs.configure(4)


def has_no_default(n_agents, limit):
    return springs.configure(n_agents, limit=limit)


def columns_with(*columns):
    return lambda params: columns


@rule
def observes_a_half(params, state, i, row):
    row[0] = 0.5


def scene_that_moves(params, state):
    state.position[:] = 0.25
    return Scene(1, 1, (False, False))


BROKEN = {
    "hidden randomness at the start": (
        {"spawn": spawns_by_a_hidden_generator},
        "spawn gives other results for the same input: it draws from a hidden generator; draw from `key`",
    ),
    "hidden randomness in a phase": (
        {"PHASES": (moves_by_a_hidden_generator,)},
        "phase 'moves_by_a_hidden_generator' gives other results for the same input",
    ),
    "hidden randomness in the reward": ({"score": scores_by_a_hidden_generator}, "score gives other results"),
    "spawn in order": (
        {"spawn": spawns_beside_the_agent_before},
        "spawn gives agent . other values of position when the agents are visited in another order",
    ),
    "row outside": ({"spawn": spawns_outside}, r"column 'x' of agent 1 is 100.0 at step 0, outside \[-3, 3"),
    "half-written state": (
        {"PHASES": (springs.drift, reads_half_written)},
        "phase 'reads_half_written' gives agent . other values of position when .* it reads what it writes",
    ),
    "another's row": (
        {"PHASES": (moves_its_neighbour,)},
        "phase 'moves_its_neighbour' writes row 1 of position while it runs for agent 0",
    ),
    "the past": ({"PHASES": (moves_in_the_past,)}, r"writes to `state` \(position\), which it may"),
    "leaving in a phase": ({"PHASES": (leaves_while_moving,)}, "clears alive: only score may let"),
    "NaN reward": ({"score": scores_nan}, r"score: reward of agent 1 is nan \(at step 0, 4 agents\)"),
    "infinite reward": ({"score": scores_infinity_late}, "score: .*reward.* (is inf|not a finite number)"),
    "metric not written": ({"score": forgets_its_metric}, "score: metric 'speed' of agent 0 is nan"),
    "an agent that returns": (
        {"score": revives, "absent": True},
        "score of agent 3 lets agent 4 return, which is not there",
    ),
    "score in order": ({"score": counts_those_who_left_before}, "score gives agent . other values of"),
    "column not written": (
        {"observe": forgets_a_column},
        "observe: column 'vy' of agent 0 is nan at step 0: not written",
    ),
    "observe that writes": ({"observe": writes_while_observing}, "observe or visible writes to `state`"),
    "half a category": (
        {"observe": observes_a_half, "columns": columns_with(Column("kind", "category", 0, 2, "", 3))},
        "column 'kind' of agent 0 is 0.5 at step 0: a category is a whole number",
    ),
    "policy": ({"POLICIES": {"much": chooses_too_much}}, r"policy 'much' chose \[ ?2\. .*\] for agent 0"),
    "past the row": ({"observe": writes_past_its_row}, "observe writes (past the end|row 1) of the row"),
    "past the metrics": ({"score": writes_past_its_metrics}, "score writes (past the end|row 1) of the met"),
    "past the state": ({"PHASES": (moves_whom_is_not_there,)}, "writes past the end of position, of shape"),
    "sight at random": ({"visible": sees_at_random}, r"visible.* gives other results for the same"),
    "rows at random": ({"observe": observes_at_random}, "observe gives other results for the same"),
    "acts for another": ({"POLICIES": {"p": acts_for_another}}, "policy 'p' writes row 0 of the action"),
    "acts as another": ({"POLICIES": {"p": acts_as_another}}, "policy 'p' gives agent . other values of"),
    "counts the absent": (
        {"score": counts_the_absent, "absent": True},
        "score gives agent . other values of the reward when the rows of absent agents change",
    ),
    "a pair that reads a third": (
        pairs(counts_a_third, "others"),
        "pair 'counts_a_third' gives agent . other values for agent . when the agents are in another order",
    ),
    "a pair at random": (pairs(gives_at_random, "others"), "other values .* and no hidden generator"),
    "a pair that writes": (pairs(writes_for_a_pair, "others"), r"pair .*writes to `state` \(velocity"),
    "too many of a pair": (pairs(two_each, "others"), r"'two_each' gives \(1, 2\): must be of the shape"),
    "too few of a pair": (pairs(one_each, "others", shape=(2,)), r"gives 1: must be of the shape \(2,\)"),
    "a pair that reads its sum": (pairs(adds_up, "others"), "must not read into='others', which is being"),
    "no such sum": (pairs(one_each, "friends"), r"into='friends' must be a field of State of shape \(4,\)"),
    "a sum of floats by cells": (
        pairs(one_each, "others", Near(within_a_tenth, in_six), dtype=np.float32),
        "into='others' must be a field of whole numbers, which may be added in any order, not of float32",
    ),
    "neighbours out of reach": (
        pairs(one_each, "others", Near(within_a_tenth, in_six)),
        "pair 'one_each' gives agent . something from agent ., which is out of reach: of 0.1 from",
    ),
    "places on a line": (
        pairs(one_each, "others", Near(within_a_tenth, on_a_line)),
        "place must give 2 or 3 coordinates, not",
    ),
    "arguments": ({"observe": takes_too_few}, r"observe takes \(params, i, row\): must take 4 arguments"),
    "a wrong name": ({"observe": reads_what_is_not_there}, r"observe cannot run: .*'stat' is not defined"),
    "one phase without a comma": ({"PHASES": springs.drift}, "PHASES must be a tuple of at least one phase"),
    "no phases": ({"PHASES": ()}, "PHASES must be a tuple of at least one phase"),
    "no state": ({"blank": lambda params: [np.zeros(4)]}, "blank must return a NamedTuple of arrays"),
    "no columns": ({"columns": lambda params: [("x", "real", 0, 1)]}, r"must return a tuple of interact_env"),
    "metrics without a comma": ({"METRICS": "speed"}, "METRICS must be a tuple of at least one"),
    "a metric twice": ({"METRICS": ("speed", "speed")}, "METRICS must be a tuple of at least one"),
    "random is taken": ({"POLICIES": {"random": chooses_too_much}}, "POLICIES must not have 'random'"),
    "an arena without size": ({"arena_size": arena}, "arena_size is for worlds with the parameters"),
    "endless scene": ({"scene": lambda params, state: Scene(np.nan, 1, (True, True))}, "scene: width and"),
    "endless actions": (
        {"action_space": lambda params: spaces.Box(-np.inf, np.inf, (2,))},
        "a bounded Box of shape",
    ),
    "not compiled": ({"spawn": not_compiled}, "spawn is not compiled: decorate it with @interact_env.rule"),
    "no alive": ({"blank": state_without_alive}, r"State needs a field alive, bool of shape \(4,\)"),
    "no arrays": ({"blank": state_of_lists}, "blank: position must be an array of zeros"),
    "counts ignored": ({"configure": ignores_counts, "n": 3}, r"n_min, n_max are \(4, 4\) for n_agents"),
    "no counts": ({"configure": springs_of_four}, "configure lacks the parameter n_agents"),
    "no default": ({"configure": has_no_default}, "configure needs a default for n_agents"),
    "columns of one name": (
        {"columns": columns_with(*[Column("x", "real", 0, 1, "")] * 2)},
        r"columns: names must differ, and be at least one, not \['x', 'x'\]",
    ),
    "column kind": ({"columns": columns_with(Column("x", "colour", 0, 1, ""))}, "must be of kind position"),
    "column bounds": ({"columns": columns_with(Column("x", "real", 1, 0, ""))}, "must have low <= high"),
    "no wavelength": ({"columns": columns_with(Column("x", "position", 0, 1, ""))}, "needs a size >= 1"),
    "category bounds": (
        {"columns": columns_with(Column("x", "category", 1, 3, "", 3))},
        "category 'x' of size 3 must go from 0 to 2",
    ),
    "no metrics": ({"METRICS": ()}, "METRICS must be a tuple of at least one name"),
    "scene of the departed": (
        {"scene": lambda params, state: Scene(1, 1, (True, True), (Circle(0, 0, 1, 0, agent=99),))},
        "scene: agent 99 of a shape is not there",
    ),
    "scene that moves": ({"scene": scene_that_moves}, "scene writes to `state`"),
    "scene that is none": ({"scene": lambda params, state: None}, "scene: must be an interact_env"),
    "action space": ({"action_space": lambda params: spaces.MultiBinary(3)}, "action_space must be Discrete"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_world_is_rejected_with_the_reason(name):
    changes, message = BROKEN[name]
    changes = dict(changes)
    module = types.ModuleType("broken")
    vars(module).update({k: v for k, v in vars(springs).items() if not k.startswith("__")})
    parameters = {"n_agents": changes.pop("n", 4)}
    if changes.pop("absent", False):
        parameters = {"n_agents": (4, 5)}
    vars(module).update(changes)
    with pytest.raises(ValueError, match=message) as caught:
        validate(World.from_module("broken", module), **parameters)
    assert isinstance(caught.value, InvalidWorld) or name in (
        "action space",
        "endless actions",
        "no counts",
        "no default",
    )


def test_a_world_that_is_not_broken_passes_the_same_way():
    module = types.ModuleType("sound")
    vars(module).update({k: v for k, v in vars(springs).items() if not k.startswith("__")})
    validate(World.from_module("sound", module), n_agents=4)


def test_a_missing_rule_is_named():
    with pytest.raises(ValueError, match=r"lacks: .*score\(params, state, action, i, after, metrics\)"):
        validate(types.ModuleType("empty"))


def test_a_bad_parameter_is_named():
    with pytest.raises(ValueError, match="n_body_v0 has no parameter 'mass'"):
        validate("n_body_v0", mass=1)
