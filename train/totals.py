"""What agents earned in a rollout, and in the episodes that ended in it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from train.ranks import Ranks


def on_host(*tensors: Tensor) -> list[np.ndarray]:
    """Tensors as float64 on the host, which waits for their device once."""
    flat = torch.cat([tensor.flatten().double() for tensor in tensors]).cpu().numpy()
    ends = np.cumsum([tensor.numel() for tensor in tensors])
    return [
        part.reshape(tensor.shape) for part, tensor in zip(np.split(flat, ends[:-1]), tensors, strict=True)
    ]


class Totals:
    """Sums over the living agents of a rollout, and over the episodes that are running; on one device."""

    def __init__(self, n_steps: int, shape: tuple[int, int], n_metrics: int, device: torch.device) -> None:
        """All zero, for rollouts of `n_steps` of the (worlds, agents) `shape`."""
        self.episode_return = torch.zeros(shape, dtype=torch.float64, device=device)
        self.joined = torch.zeros(shape, dtype=torch.bool, device=device)
        self.length = torch.zeros(shape[0], dtype=torch.int64, device=device)
        # Agent steps, reward, metrics.
        self._sums = torch.zeros(2 + n_metrics, dtype=torch.float64, device=device)
        # Of the episode of each world: whether it ended at a step, and then its mean return and its length.
        self._ended = torch.zeros(n_steps, 3, shape[0], dtype=torch.float64, device=device)
        self._rates = [0.0] * (2 + n_metrics)

    def clear(self) -> None:
        """Start the sums of a rollout."""
        self._sums.zero_()

    def add(self, t: int, mask: Tensor, reward: Tensor, metrics: Tensor, over: Tensor) -> None:
        """Add step t: who acted (B, L), reward (B, L), metrics (B, L, M), and the worlds that ended (B,)."""
        self._sums[0] += mask.sum()
        self._sums[1] += reward.sum(dtype=torch.float64)
        self._sums[2:] += metrics.sum(dim=(0, 1), dtype=torch.float64)
        self.episode_return += reward
        self.joined |= mask
        self.length += 1
        self._ended[t] = 0
        self.end(t, over)

    def end(self, t: int, worlds: Tensor) -> None:
        """Count the episodes of some worlds, (B,) bool, as ended after step t."""
        returns = self.episode_return.sum(dim=1) / self.joined.sum(dim=1)
        self._ended[t] = torch.where(worlds, torch.stack([worlds, returns, self.length]), self._ended[t])
        self.episode_return.masked_fill_(worlds[:, None], 0)
        self.joined &= ~worlds[:, None]
        self.length.masked_fill_(worlds, 0)

    def found(self, ranks: Ranks) -> tuple[Tensor, Tensor]:
        """What `finish` has to be given, as the host sees it: of all processes."""
        return ranks.total(self._sums), ranks.joined(self._ended, dim=2)

    def finish(self, sums: np.ndarray, ended: np.ndarray) -> list[dict[str, float]]:
        """Look at a rollout: mean return per agent and length of the episodes that ended, in their order."""
        self._rates = sums.tolist()
        over, returns, lengths = ended.swapaxes(0, 1)
        there = over != 0
        pairs = zip(returns[there].tolist(), lengths[there].tolist(), strict=True)
        return [{"r": r, "l": n} for r, n in pairs]

    def rates(self) -> tuple[int, float, np.ndarray]:
        """Agent steps, and reward and metrics per agent step, of the finished rollout."""
        n, reward, *metrics = self._rates
        return int(n), reward / max(1, n), np.array(metrics) / max(1, n)
