"""From entity rows to vectors: categories one-hot, numbers as they are, positions as displacements.

A column is plain data: name, kind ("position", "category" or "real"), low, high, unit and size (the
number of categories, or the longest wavelength of a position).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

POSITIONS = ("rotary", "rotary_qk", "fourier", "plain")
N_FREQUENCIES = 8


class Column(Protocol):
    """What the embedding reads of a column."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def size(self) -> int: ...


class Rotation(NamedTuple):
    """How far the vectors of each entity are turned; None: not at all."""

    scores: Tensor | None  # queries and keys: (B, L, d_head / 2) complex unit numbers
    values: Tensor | None  # values, and back what they add up to: the same


class Rotary(nn.Module):
    r"""The rotation that turns features by an entity's position.

    Angles are \(2 \pi k x_a / \lambda_a\) for k = 1 ... 8 on every axis a, so products of rotated vectors
    depend on displacements only, and repeat over the longest wavelength \(\lambda_a\).

    Source: Su et al. 2021, arXiv 2104.09864, for text; physical wavelengths on several axes are ours.
    """

    def __init__(self, wavelengths: Sequence[float], *, values: bool = True) -> None:
        """Make the rotation.

        Args:
            wavelengths: the longest of each axis, in the units of the positions.
            values: turn values too, not only queries and keys.

        Raises:
            ValueError: no wavelength, or one that is not above 0.
        """
        super().__init__()
        if not wavelengths or not all(0 < length < math.inf for length in wavelengths):
            raise ValueError(f"wavelengths must be one or more numbers above 0, not {wavelengths!r}")
        self.values = values
        self.register_buffer("wavelengths", torch.tensor(wavelengths, dtype=torch.float), persistent=False)
        self.register_buffer("steps", torch.arange(1.0, N_FREQUENCIES + 1), persistent=False)

    wavelengths: Tensor
    steps: Tensor

    @property
    def d_head(self) -> int:
        """Width of the vectors that it rotates."""
        return 2 * self.wavelengths.numel() * self.steps.numel()

    def forward(self, positions: Tensor) -> Rotation:
        """The rotation of entities at positions (B, L, axes)."""
        turned = self.turns(positions)
        return Rotation(turned, turned if self.values else None)

    def turns(self, positions: Tensor) -> Tensor:
        """Positions (B, L, axes) -> complex unit numbers (B, L, d_head / 2)."""
        turns = ((positions / self.wavelengths)[..., None] * self.steps).flatten(-2)
        # Whole turns are taken off before pi comes in: far from the origin they would eat the precision.
        angles = 2 * math.pi * (turns - turns.floor())
        return torch.polar(torch.ones_like(angles), angles)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn the vectors of each entity by its angles.

    Args:
        x: (B, L, n * d_head), n vectors an entity; pairs of neighbouring numbers are turned.
        rotation: (B, L, d_head / 2) complex, see `Rotary`; its conjugate turns back.

    Returns:
        as x.
    """
    # Half precisions have no complex numbers worth the name: turned in the rotation's, and back.
    pairs = torch.view_as_complex(x.to(rotation.real.dtype).unflatten(-1, (-1, rotation.shape[-1], 2)))
    return torch.view_as_real(pairs * rotation[..., None, :]).flatten(-3).to(x.dtype)


class Fourier(nn.Module):
    """Absolute positions as sines and cosines of the same angles: (B, L, axes) -> (B, L, d)."""

    def __init__(self, wavelengths: Sequence[float]) -> None:
        """`wavelengths`: the longest of each axis, in the units of the positions."""
        super().__init__()
        self.rotary = Rotary(wavelengths)
        self.width = self.rotary.d_head

    def forward(self, positions: Tensor) -> Tensor:
        """Positions (B, L, axes) -> (B, L, 2 * 8 * axes)."""
        return torch.view_as_real(self.rotary.turns(positions)).flatten(-2)


class EntityEmbedding(nn.Module):
    """Entity rows (B, L, F) to vectors (B, L, d_model), and the rotation of their positions."""

    def __init__(self, columns: Sequence[Column], d_model: int, positions: str = "rotary") -> None:
        """Make the embedding.

        Args:
            columns: what a row holds.
            d_model: width of the vectors.
            positions: "rotary" (positions only turn queries, keys and values), "rotary_qk" (queries and
                keys), "fourier" (sines and cosines in the vector) or "plain" (coordinates over their
                wavelength in the vector).

        Raises:
            ValueError: an unknown kind of positions or column, or a position without a wavelength.
        """
        super().__init__()
        if positions not in POSITIONS:
            raise ValueError(f"positions must be one of {', '.join(POSITIONS)}, not {positions!r}")
        for c in columns:
            if c.kind not in ("position", "category", "real"):
                raise ValueError(f"column {c.name!r} has an unknown kind {c.kind!r}")
            if c.kind != "real" and c.size < 1:
                raise ValueError(f"column {c.name!r} of kind {c.kind!r} needs a size >= 1, not {c.size}")
        self.columns, self.positions = tuple(columns), positions
        self.axes = [k for k, c in enumerate(columns) if c.kind == "position"]
        wavelengths = [float(columns[k].size) for k in self.axes]
        turns = positions in ("rotary", "rotary_qk") and bool(self.axes)
        self.rotary = Rotary(wavelengths, values=positions == "rotary") if turns else None
        self.fourier = Fourier(wavelengths) if positions == "fourier" and self.axes else None
        self.project = nn.Linear(max(1, self._width()), d_model)

    def _width(self) -> int:
        categories = sum(c.size for c in self.columns if c.kind == "category")
        reals = sum(c.kind == "real" for c in self.columns)
        per_axis = {"fourier": 2 * N_FREQUENCIES, "plain": 1}.get(self.positions, 0)
        return categories + reals + per_axis * len(self.axes)

    def forward(self, rows: Tensor) -> tuple[Tensor, Rotation | None]:
        """Rows (B, L, F), finite -> vectors (B, L, d_model) and the rotation, if positions rotate."""
        parts = [
            _one_hot(rows[..., k], c.size) if c.kind == "category" else rows[..., k, None]
            for k, c in enumerate(self.columns)
            if c.kind != "position"
        ]
        # Taken one by one: a list of columns would be copied to the device each time.
        where = torch.stack([rows[..., k] for k in self.axes], dim=-1) if self.axes else rows[..., :0]
        if self.fourier is not None:
            parts.append(self.fourier(where))
        elif self.positions == "plain":
            parts += [where[..., [n]] / self.columns[k].size for n, k in enumerate(self.axes)]
        parts = parts or [torch.ones_like(rows[..., :1])]
        vectors = self.project(torch.cat(parts, dim=-1))
        return vectors, None if self.rotary is None else self.rotary(where)


def _one_hot(values: Tensor, size: int) -> Tensor:
    return (values[..., None] == torch.arange(size, device=values.device)).to(values.dtype)
