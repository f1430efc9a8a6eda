"""Generalised advantage estimation for agents that may leave and episodes that may be cut."""

from __future__ import annotations

import torch
from torch import Tensor


def advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    r"""GAE(lambda) of every agent.

    \(\delta_t = r_t + \gamma V(s'_t) [\mathrm{not\ terminated}] - V(s_t)\) with s' the true next state, and
    \(A_t = \delta_t + \gamma \lambda A_{t+1}\), where the sum stops at any end of an episode.

    Source: Schulman et al. 2016, arXiv 1506.02438; bootstrapping at time limits: Pardo et al. 2018,
    arXiv 1712.00378.

    Args:
        rewards, values, next_values: (T, ...) float; next_values at a truncation is the value of the
            last observation, not of the next episode's first.
        terminated, truncated: (T, ...) bool.
        gamma: discount.
        gae_lambda: decay of the sum.

    Returns:
        (T, ...) advantages.
    """
    # Selected, not multiplied by 0: the slot of an agent that left may hold anything, NaN too.
    delta = rewards + gamma * next_values.masked_fill(terminated, 0) - values
    end = terminated | truncated
    result = torch.empty_like(delta)
    running = torch.zeros_like(delta[0])
    for t in reversed(range(delta.shape[0])):
        running = delta[t] + gamma * gae_lambda * running.masked_fill(end[t], 0)
        result[t] = running
    return result
