"""Environments as the tests of the adapters make them."""

import interact_env


def parallel(parameters, **more):
    rest = {"max_cycles": 30, **parameters, **more}
    return interact_env.make(rest.pop("world", "colliding_agents_v0"), **rest)


def sample(env):
    return {agent: env.action_space(agent).sample() for agent in env.agents}
