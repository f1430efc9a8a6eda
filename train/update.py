"""The loss of PPO over whole worlds: static shapes, nothing read by the host.

Source: Schulman et al. 2017, arXiv 1707.06347; term by term as in stable-baselines3's `PPO.train`, to which a
test holds the weights after an update.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from train.buffer import Minibatch
from train.policy import EntityPolicy
from train.ranks import Ranks


class Coefficients(NamedTuple):
    """Of the loss."""

    clip_range: float  # of the ratio of probabilities, about 1
    clip_range_vf: float | None  # of the values, about those of the rollout; None: not clipped
    entropy: float
    value: float
    normalize: bool  # advantages to mean 0 and deviation 1, in each minibatch


NUMBERS = ("policy_gradient_loss", "value_loss", "entropy_loss", "approx_kl", "clip_fraction", "loss")


def losses(policy: EntityPolicy, part: Minibatch, c: Coefficients, ranks: Ranks) -> Tensor:
    """The `NUMBERS` of a minibatch, the loss last, (6,).

    All are means over the living agents in it. With several processes: over those of all, of which each adds
    its part, so that the sums of their numbers and gradients are those of the joined minibatch.
    """
    mask = part.observation["mask"]
    n = ranks.total(mask.sum().float())

    def mean(x: Tensor) -> Tensor:
        return torch.where(mask, x, 0).sum() / n

    advantages = part.advantages
    if c.normalize:
        centred = advantages - ranks.total(mean(advantages))
        deviation = (ranks.total(mean(centred.square())) * n / (n - 1)).sqrt()
        advantages = torch.where(n > 1, centred / (deviation + 1e-8), advantages)
    values, log_probs, entropy = policy.evaluate_all(part.observation, part.actions)
    log_ratio = log_probs - part.log_probs
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - c.clip_range, 1 + c.clip_range)
    policy_loss = -mean(torch.min(advantages * ratio, advantages * clipped))
    if c.clip_range_vf is not None:
        values = part.values + (values - part.values).clamp(-c.clip_range_vf, c.clip_range_vf)
    value_loss = mean((part.returns - values).square())
    entropy_loss = -mean(entropy)
    loss = policy_loss + c.entropy * entropy_loss + c.value * value_loss
    with torch.no_grad():
        # An estimate of KL(old, new): Schulman, http://joschu.net/blog/kl-approx.html
        approx_kl = mean(ratio - 1 - log_ratio)
        clip_fraction = mean(((ratio - 1).abs() > c.clip_range).float())
    return torch.stack([policy_loss, value_loss, entropy_loss, approx_kl, clip_fraction, loss])


def explained_variance(returns: Tensor, values: Tensor, mask: Tensor, ranks: Ranks) -> Tensor:
    """1 - Var(returns - values) / Var(returns) over the living agents; NaN where all returns are equal."""
    n = ranks.total(mask.sum().double())

    def variance(x: Tensor) -> Tensor:
        x = torch.where(mask, x, 0).double()
        mean = ranks.total(x.sum()) / n
        return ranks.total(torch.where(mask, x - mean, 0).square().sum()) / n

    total = variance(returns)
    return torch.where(total == 0, torch.nan, 1 - variance(returns - values) / total)
