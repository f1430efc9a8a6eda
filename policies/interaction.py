"""What every interaction is called with, and how it takes its vectors apart into heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from policies.embedding import Rotation, rotate
from policies.sums import Reach


class Interaction(nn.Module):
    """What the others do to each entity: (B, L, d_model) -> (B, L, d_model), for any number L of entities.

    Subclasses say how, in `answer`, and perhaps in `pair_weights` how much each counts for each.
    """

    def __init__(self, d_model: int, *, exclude_self: bool = True, causal: bool = False) -> None:
        """Keep what all interactions share; see `SelfAttention` for the arguments."""
        super().__init__()
        self.d_model = at_least_one("d_model", d_model)
        self.exclude_self, self.causal = exclude_self, causal

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        visible: Tensor | None = None,
        rotation: Rotation | None = None,
        memory: Tensor | None = None,
    ) -> Tensor:
        """What the others do to each entity.

        Args:
            x: (B, L, d_model), of what asks.
            mask: (B, L) bool, True: the entity is there; None: all are. Rows outside may hold anything.
            visible: (B, L, L) bool, True: i sees j; None: each sees all.
            rotation: of each entity's position, see `Rotary`; None: there are no positions.
            memory: (B, L, d_model), what is seen of each entity; None: x.

        Returns:
            (B, L, d_model); for an entity that sees no other the same as if it were alone.

        Raises:
            ValueError: a shape or dtype is not as above.
        """
        return self.answer(*self._prepared(x, mask, visible, rotation, memory))

    def weights(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        visible: Tensor | None = None,
        rotation: Rotation | None = None,
        memory: Tensor | None = None,
    ) -> Tensor:
        """How much j counts for i, (B, H, L, L); called as `forward` is, and never computed there.

        Raises:
            ValueError: as `forward`.
            NotImplementedError: this interaction weighs no pairs.
        """
        return self.pair_weights(*self._prepared(x, mask, visible, rotation, memory))

    def answer(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """`forward` of arguments known to be good: all finite, memory zero where no entity is."""
        raise NotImplementedError

    def pair_weights(self, x: Tensor, memory: Tensor, rotation: Rotation, reach: Reach) -> Tensor:
        """`weights` of arguments that are known to be good, zero where no entity is."""
        raise NotImplementedError(f"{type(self).__name__} weighs no pairs")

    def _prepared(
        self,
        x: Tensor,
        mask: Tensor | None,
        visible: Tensor | None,
        rotation: Rotation | None,
        memory: Tensor | None,
    ) -> tuple[Tensor, Tensor, Rotation, Reach]:
        if x.ndim != 3 or x.shape[-1] != self.d_model:
            raise ValueError(f"x must be (B, L, {self.d_model}), not {tuple(x.shape)}")
        sets, n, _ = x.shape
        for name, given, shape in (("mask", mask, (sets, n)), ("visible", visible, (sets, n, n))):
            if given is not None and (tuple(given.shape) != shape or given.dtype != torch.bool):
                raise ValueError(
                    f"{name} must be bool of shape {shape}, not {given.dtype} of {tuple(given.shape)}"
                )
        if memory is not None and memory.shape != x.shape:
            raise ValueError(f"memory must be of x's shape {tuple(x.shape)}, not {tuple(memory.shape)}")
        rotation = Rotation(None, None) if rotation is None else rotation
        if not isinstance(rotation, Rotation):
            raise ValueError(f"rotation must be a Rotation, see Rotary, not {type(rotation).__name__}")
        for angles in rotation:
            if angles is not None and (not angles.is_complex() or angles.shape[:2] != x.shape[:2]):
                found = f"{angles.dtype} of {tuple(angles.shape)}"
                raise ValueError(f"rotation must be complex of shape ({sets}, {n}, d_head / 2), not {found}")
        if mask is None:
            mask = torch.ones(sets, n, dtype=torch.bool, device=x.device)
        else:
            x = _where(mask, x)
            memory = None if memory is None else _where(mask, memory)
            rotation = Rotation(*(None if t is None else _where(mask, t) for t in rotation))
        reach = Reach(mask, visible, self.exclude_self, self.causal)
        return x, x if memory is None else memory, rotation, reach


def _where(mask: Tensor, rows: Tensor) -> Tensor:
    """Rows (B, L, d), zero where no entity is, whatever they held there."""
    return torch.where(mask[..., None], rows, 0)


def turned_heads(x: Tensor, n_heads: int, angles: Tensor | None) -> Tensor:
    """(B, L, H * d), turned by each entity's angles, if there are any, as (B, H, L, d).

    Raises:
        ValueError: the angles are of vectors of another width.
    """
    if angles is not None and x.shape[-1] // n_heads % (2 * angles.shape[-1]):
        allowed, given = 2 * angles.shape[-1], x.shape[-1] // n_heads
        raise ValueError(f"rotation is of heads (and ranks) as wide as {allowed}, or a multiple, not {given}")
    return split_heads(turn(x, angles), n_heads)


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """(B, L, H * d) as (B, H, L, d)."""
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def join_heads(y: Tensor) -> Tensor:
    """(B, H, L, d) as (B, L, H * d)."""
    return y.transpose(1, 2).flatten(2)


def turn(x: Tensor, angles: Tensor | None) -> Tensor:
    """Vectors (B, L, n * d), turned by each entity's angles, if there are any."""
    return x if angles is None else rotate(x, angles)


def turn_back(y: Tensor, angles: Tensor | None) -> Tensor:
    """`turn` the other way round."""
    return turn(y, None if angles is None else angles.conj())


def head_width(d_model: int, n_heads: int, d_head: int | None) -> int:
    """d_head, by default the width over the heads.

    Raises:
        ValueError: a size below 1, or a width that the heads do not divide.
    """
    at_least_one("d_model", d_model)
    at_least_one("n_heads", n_heads)
    if d_head is not None:
        return at_least_one("d_head", d_head)
    if d_model % n_heads:
        raise ValueError(f"d_model must be a multiple of n_heads={n_heads}, not {d_model}; or give d_head")
    return d_model // n_heads


def at_least_one(name: str, value: int) -> int:
    """`value`, if it is a whole number >= 1.

    Raises:
        ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number >= 1, not {value!r}")
    return value


def one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    """`value`, if it is allowed.

    Raises:
        ValueError: it is not; the message lists what is.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value
