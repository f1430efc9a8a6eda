"""Bad input: the message names the argument and what is allowed, and nothing has changed."""

import types

import gymnasium
import numpy as np
import pytest
import springs
from envs import parallel

import interact_env

BAD_ACTIONS = [
    (float("nan"), "action of 'agent_1' must be a whole number in [0, 5), not nan"),
    (5, "action of 'agent_1' must be a whole number in [0, 5), not 5"),
    (-1, "not -1"),
    (1.0, "not 1.0"),
    (np.array([1, 2]), "action of 'agent_1'"),
    (None, "not None"),
    ("right", "not 'right'"),
]


@pytest.mark.parametrize(("action", "message"), BAD_ACTIONS)
def test_a_bad_action_names_its_agent_and_changes_nothing(action, message):
    env = parallel({"n_agents": 3})
    env.reset(seed=0)
    before = env.batch.save()
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the text is compared below, unescaped
        env.step({"agent_0": 1, "agent_1": action, "agent_2": 0})
    assert message in str(error.value)
    assert all((env.batch.save()[k] == v).all() for k, v in before.items())
    env.step({"agent_0": 1, "agent_1": np.int64(2), "agent_2": np.array(0)})


@pytest.mark.parametrize(
    "action", [np.array([0.1, np.nan], np.float32), np.array([2.0, 0]), np.array([0.1]), [1, 0], 0.5]
)
def test_a_bad_continuous_action_is_refused(action):
    env = parallel({"world": "springs_v0", "n_agents": 2})
    env.reset(seed=0)
    good = np.zeros(2, np.float32)
    with pytest.raises(
        ValueError, match=r"action of 'agent_0' must be floats of shape \(2,\) within \[-1, 1\]"
    ):
        env.step({"agent_0": action, "agent_1": good})


def test_wrong_agents_are_named():
    env = parallel({"n_agents": 3, "remove_on_collision": True}, render_mode="rgb_array")
    with pytest.raises(RuntimeError, match=r"step\(\) before reset\(\)"):
        env.step({})
    with pytest.raises(RuntimeError, match=r"nothing to draw before reset\(\)"):
        env.render()
    env.reset(seed=0)
    actions = dict.fromkeys(env.agents, 0)
    with pytest.raises(ValueError, match="lacks an action for 'agent_2'"):
        env.step({"agent_0": 0, "agent_1": 0})
    with pytest.raises(ValueError, match="unknown agent 'agent_7'"):
        env.step({**actions, "agent_7": 0})
    env.batch._state.x[0], env.batch._state.y[0] = (0, 1, 8), (0, 0, 8)
    env.step(actions)
    assert env.agents == ["agent_2"]
    with pytest.raises(ValueError, match="has 'agent_0', which has left"):
        env.step(actions)


def test_stepping_after_all_have_left_is_refused():
    env = parallel({"n_agents": 2, "max_cycles": 1})
    env.reset(seed=0)
    env.step(dict.fromkeys(env.agents, 0))
    with pytest.raises(RuntimeError, match=r"all agents have left: call reset\(\) first"):
        env.step({})


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros((2, 3)), r"actions must be integers of shape \(2, 3\), not float64"),
        (np.zeros((3, 2), int), r"shape \(2, 3\), not int64 of \(3, 2\)"),
        (np.array([[0, 0, 0], [0, 9, 0]]), r"actions\[1, 1\] must be in \[0, 5\), not 9"),
    ],
)
def test_bad_batch_actions_are_named(actions, message):
    batch = interact_env.make_batch("colliding_agents_v0", 2, seed=0, n_agents=3)
    with pytest.raises(RuntimeError, match="world 0 has not been reset"):
        batch.step(np.zeros((2, 3), int))
    batch.reset()
    before = batch.save()
    with pytest.raises(ValueError, match=message):
        batch.step(actions)
    assert all((batch.save()[k] == v).all() for k, v in before.items())


def test_bad_batch_arguments_are_named():
    def batch(**options):
        return interact_env.make_batch("colliding_agents_v0", **{"n_worlds": 2, **options})

    with pytest.raises(ValueError, match="n_worlds must be a whole number >= 1, not 0"):
        batch(n_worlds=0)
    with pytest.raises(ValueError, match="seed must be a whole number in"):
        batch(seed=-1)
    with pytest.raises(ValueError, match="n_threads must be a whole number in"):
        batch(n_threads=10_000)
    made = batch(seed=0)
    with pytest.raises(ValueError, match=r"mask must be bool of shape \(2,\)"):
        made.reset(np.zeros(3, bool))
    with pytest.raises(ValueError, match="give mask or seed, not both"):
        made.reset(np.ones(2, bool), seed=1)
    made.reset()
    with pytest.raises(ValueError, match="policy must be one of 'random', 'yield', 'go_ahead', 'move_right'"):
        made.scripted("clever")


def test_wrong_kinds_of_arguments_are_named():
    env = parallel({"n_agents": 2})
    env.reset(seed=np.int64(0))
    with pytest.raises(ValueError, match="actions must be a dict by agent, not a list"):
        env.step([1, 1])
    with pytest.raises(ValueError, match=r"seed must be a whole number in .*, not 1.5"):
        env.reset(seed=1.5)
    for option in ("n_worlds", "first_world"):
        with pytest.raises(ValueError, match=f"has no parameter '{option}'"):
            parallel({option: 3})
    batch = interact_env.make_batch("springs_v0", 2, seed=0)
    batch.reset()
    with pytest.raises(ValueError, match="actions must be an array of shape"):
        batch.step([[1], [1, 2]])
    for look in (batch.views, batch.state, batch.scene):
        with pytest.raises(ValueError, match="world must be a whole number in"):
            look(2)


def test_an_unknown_kind_of_action_space_is_refused():
    module = types.ModuleType("odd")
    vars(module).update({k: v for k, v in vars(springs).items() if not k.startswith("__")})
    module.action_space = lambda params: gymnasium.spaces.MultiDiscrete([2, 2])
    interact_env.register("odd_v0", module)
    with pytest.raises(ValueError, match="action_space must be Discrete from 0 or a bounded Box"):
        interact_env.make("odd_v0")


@pytest.mark.parametrize("n_worlds", [2**40, 2**70])
def test_a_batch_that_does_not_fit_is_refused_with_its_bytes(n_worlds):
    told = rf"^n_worlds={n_worlds} would need {n_worlds * 602} bytes of memory \([^)]+\), and \d+ "
    with pytest.raises(ValueError, match=told + r"\([^)]+\) are free on cpu: lower n_worlds, or the number"):
        interact_env.make_batch("colliding_agents_v0", n_worlds=n_worlds, n_agents=8)
