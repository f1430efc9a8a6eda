"""stable-baselines3's own update of an EntityPPO, to hold ours against."""

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.type_aliases import RolloutBufferSamples


class Samples:
    """A rollout as `PPO.train` reads it: the living agents of each minibatch, one row each."""

    def __init__(self, buffer):
        self.buffer = buffer
        self.values = buffer.state_values[buffer.mask].cpu().numpy()
        self.returns = buffer.state_returns[buffer.mask].cpu().numpy()

    def get(self, batch_size):
        for part in self.buffer.minibatches(batch_size):
            own = part.observation["own"]
            yield RolloutBufferSamples(part.observation, *(values[own] for values in part[1:]))


def train(model):
    """`PPO.train` with the rollout that the model has."""
    buffer, model.rollout_buffer = model.rollout_buffer, Samples(model.rollout_buffer)
    try:
        PPO.train(model)
    finally:
        model.rollout_buffer = buffer


def logged(model):
    """What an update has logged."""
    return {k: v for k, v in model.logger.name_to_value.items() if k.startswith("train/")}


def seed(number):
    """Of the generator that shuffles the minibatches."""
    np.random.seed(number)  # noqa: NPY002
    torch.manual_seed(number)
