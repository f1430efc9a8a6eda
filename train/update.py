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


# Whose vectors stay in a core's cache: on a CPU, large minibatches are a tenth faster in such pieces.
_AGENTS = 3 * 2**12
NUMBERS = ("policy_gradient_loss", "value_loss", "entropy_loss", "approx_kl", "clip_fraction", "loss")


def at_once(n_slots: int, device: str) -> int:
    """How many samples of a minibatch the loss takes at once, of `n_slots` agents each."""
    return max(1, _AGENTS // n_slots) if device == "cpu" else 2**62


def ready(part: Minibatch, normalize: bool, ranks: Ranks) -> tuple[Minibatch, Tensor]:
    """A minibatch with its advantages as the loss takes them, and how many agents live in it.

    With several processes: in the minibatches of all, joined.

    Args:
        part: of this process.
        normalize: advantages to mean 0 and deviation 1.
        ranks: of the processes.
    """
    mask, advantages = part.observation["mask"], part.advantages
    # They are zero where no agent is. In float64 the squares need no centring.
    wide = advantages.double()
    n, total, squares = ranks.total(torch.stack([mask.sum().double(), wide.sum(), wide.square().sum()]))
    if not normalize:
        return part, n.float()
    mean = total / n
    deviation = ((squares - n * mean.square()).clamp(min=0) / (n - 1)).sqrt()
    normal = ((wide - mean) / (deviation + 1e-8)).float()
    return part._replace(advantages=torch.where(n > 1, normal, advantages)), n.float()


def losses(policy: EntityPolicy, part: Minibatch, n: Tensor, c: Coefficients) -> Tensor:
    """The `NUMBERS` of a part of a minibatch of n living agents, the loss last, (6,).

    Means over the n, to which each part adds its share: so that the sums of their numbers, and of their
    gradients, are those of the minibatch.
    """
    mask = part.observation["mask"]

    def mean(x: Tensor) -> Tensor:
        return torch.where(mask, x, 0).sum() / n

    values, log_probs, entropy = policy.evaluate_all(part.observation, part.actions)
    log_ratio = log_probs - part.log_probs
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - c.clip_range, 1 + c.clip_range)
    policy_loss = -mean(torch.min(part.advantages * ratio, part.advantages * clipped))
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
