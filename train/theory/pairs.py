r"""Interactions of pairs through a matrix, and their estimation.

Of \(g(x, x') = \phi(\langle x, A x' \rangle)\) the mean over the others is seen, with noise:
\(Y_i = \frac{1}{N-1} \sum_{j \ne i} g(X_i, X_j) + \epsilon_i\). Phi is estimated as a spline in
\(\tanh u\), on whose range the arguments lie dense everywhere, and A = P Q^T of known rank, jointly: for
given A the spline is a linear least squares, and A follows by Gauss-Newton (variable projection: Golub and
Pereyra 1973), from several starts, and from few splines to many. A and phi may both change their signs.

Source: the model is Zucker, Wang, Lu and Seroussi 2025, arXiv 2510.11789, after its abstract; the laws of X
and of phi, and the estimator, are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.sparse import csr_matrix

Array = NDArray[np.float64]
Projected = tuple[Array, csr_matrix, Array, Array]
_RIDGE = 1e-12  # of the mean diagonal of the splines' products
_COARSE = 6  # splines at the start
_STARTS = 3  # at random, beside that of the moments
_STEPS, _HALVINGS = 40, 12
_ENOUGH = 1e-9  # of the residual: a smaller gain is none
_WAVES = 2000
_PER_NUMBER = 100


class Law(NamedTuple):
    r"""What is to be found: \(\phi(u) = \sum_k a_k \cos(\pi k (\tanh u + 1) / 2)\) and A = P Q^T.

    With \(|a_k| = k^{-b - 1/2}\), phi has b derivatives in the mean square, and hardly more.
    """

    left: Array  # P, (d, r)
    right: Array  # Q, (d, r)
    waves: Array  # a_k

    def interaction(self, one: Array, other: Array) -> Array:
        """Of pairs, (..., d) and (..., d) -> (...)."""
        t = np.tanh(((one @ self.left) * (other @ self.right)).sum(-1))
        # By the recurrence of cosines, from the last wave (Clenshaw 1955).
        c = -np.sin(np.pi * t / 2)
        later = latest = np.zeros_like(c)
        for a in self.waves[::-1]:
            later, latest = a + 2 * c * later - latest, later
        return later * c - latest

    def draw(self, n_sets: int, n: int, noise: float, random: np.random.Generator) -> tuple[Array, Array]:
        """Sets of n normal entities, (M, n, d), and what is seen of them, (M, n)."""
        x = random.standard_normal((n_sets, n, len(self.left)))
        seen = np.mean([self.interaction(x, np.roll(x, -k, axis=1)) for k in range(1, n)], axis=0)
        return x, seen + noise * random.standard_normal(seen.shape)


def law(d: int, rank: int, smoothness: int, random: np.random.Generator) -> Law:
    """One at random; A has a Frobenius norm of 1."""
    k = np.arange(1, _WAVES + 1)
    signs = np.where(random.random(_WAVES) < 0.5, -1.0, 1.0)
    signs[0] = -1  # the first wave, which is odd, gives the moments of a start
    left, right = unit(random.standard_normal((d, rank)), random.standard_normal((d, rank)))
    return Law(left, right, signs * k ** (-smoothness - 0.5))


class Estimate(NamedTuple):
    """A spline in tanh u, and A = P Q^T."""

    left: Array
    right: Array
    spline: BSpline

    def interaction(self, one: Array, other: Array) -> Array:
        """Of pairs, (..., d) and (..., d) -> (...)."""
        return self.spline(np.tanh(((one @ self.left) * (other @ self.right)).sum(-1)))


class Data(NamedTuple):
    """Each entity of each set, the others of its set, and what is seen."""

    x: Array  # (M N, d)
    others: Array  # (M N, N - 1, d)
    y: Array  # (M N,)


def estimate(
    x: Array, y: Array, rank: int, n_splines: int, degree: int, random: np.random.Generator
) -> Estimate:
    """Phi and A from sets of entities.

    Args:
        x: (M, N, d), entities.
        y: (M, N), what is seen of them.
        rank: of A.
        n_splines: of degree `degree`, of the estimate.
        degree: of the splines.
        random: for starts.
    """
    data = pairs(x, y)
    # Enough for a start: so many for each number that is sought.
    some = Data(*(part[: _PER_NUMBER * (_COARSE + 2 * rank * x.shape[2])] for part in data))
    splines = _splines(_COARSE, degree)
    found = [_descended(some, *start, splines) for start in starts(some, rank, random)]
    left, right, _ = min(found, key=lambda one: one[2])
    for n in _doubled(n_splines):
        left, right, _ = _descended(data, left, right, _splines(n, degree))
    knots = _splines(n_splines, degree)
    return Estimate(left, right, BSpline(knots, _projected(data, left, right, knots)[0], degree))


def pairs(x: Array, y: Array) -> Data:
    """Each entity beside the others of its set."""
    n, d = x.shape[1:]
    others = np.stack([np.roll(x, -k, axis=1) for k in range(1, n)], axis=2)
    return Data(x.reshape(-1, d), others.reshape(-1, n - 1, d), y.ravel())


def unit(left: Array, right: Array) -> tuple[Array, Array]:
    """Factors of a matrix of norm 1, as large as each other."""
    u, s, v = np.linalg.svd(left @ right.T, full_matrices=False)
    root = np.sqrt(s[: left.shape[1]] / np.linalg.norm(s))
    return u[:, : len(root)] * root, v[: len(root)].T * root


def starts(data: Data, rank: int, random: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    r"""Where A may lie: the moments \(E[Y_i X_i X_j^T]\), along A if phi rises or falls, and others."""
    moment = np.einsum("m,md,me->de", data.y - data.y.mean(), data.x, data.others.mean(1))
    u, s, v = np.linalg.svd(moment)
    for sign in (1, -1):
        yield unit(sign * u[:, :rank] * s[:rank], v[:rank].T)
    for _ in range(_STARTS):
        yield unit(random.standard_normal((len(u), rank)), random.standard_normal((len(u), rank)))


def _doubled(n: int) -> list[int]:
    """From few splines to n."""
    steps = int(math.log2(max(1.0, n / _COARSE)))
    return [_COARSE * 2**k for k in range(steps)] + [n]


def _splines(n: int, degree: int) -> Array:
    """Knots of n splines on [-1, 1]."""
    inner = np.linspace(-1, 1, n - degree + 1)
    return np.concatenate([np.full(degree, -1.0), inner, np.full(degree, 1.0)])


def _degree(knots: Array) -> int:
    return int((knots == -1).sum()) - 1


def _projected(data: Data, left: Array, right: Array, knots: Array) -> Projected:
    """For an A the best coefficients, the splines' means (M N, K) and inverse products, and tanh u."""
    t = np.tanh(((data.x @ left)[:, None] * (data.others @ right)).sum(-1))
    rows, n = t.shape
    each = BSpline.design_matrix(t.ravel(), knots, _degree(knots))
    means = csr_matrix((np.full(rows * n, 1 / n), np.arange(rows * n), np.arange(0, rows * n + 1, n))) @ each
    products = (means.T @ means).toarray()
    inverse = np.linalg.inv(products + _RIDGE * products.trace() / len(products) * np.eye(len(products)))
    return inverse @ (means.T @ data.y), means, inverse, t


def _descended(data: Data, left: Array, right: Array, knots: Array) -> tuple[Array, Array, float]:
    """Gauss-Newton from an A: another one, and the mean squared residual."""
    at = _projected(data, left, right, knots)
    error = _error(data, at)
    for _ in range(_STEPS):
        step = _step(data, left, right, knots, at)
        for halving in range(_HALVINGS):
            to_left, to_right = (part * 0.5**halving for part in step)
            tried = unit(left + to_left, right + to_right)
            there = _projected(data, *tried, knots)
            if _error(data, there) < error:
                break
        else:
            return left, right, error
        gain = 1 - _error(data, there) / error
        (left, right), at, error = tried, there, _error(data, there)
        if gain < _ENOUGH:
            break
    return left, right, error


def _error(data: Data, at: Projected) -> float:
    coefficients, means, _, _ = at
    return float(np.mean((data.y - means @ coefficients) ** 2))


def _step(data: Data, left: Array, right: Array, knots: Array, at: Projected) -> tuple[Array, Array]:
    """Of the factors, along which the splines' coefficients follow."""
    coefficients, means, inverse, t = at
    slope = BSpline(knots, coefficients, _degree(knots)).derivative()(t) * (1 - t * t) / t.shape[1]
    weighed = np.einsum("mj,mjd->md", slope, data.others)
    rows = len(data.y)
    jacobian = np.concatenate(
        [
            (data.x[:, :, None] * (weighed @ right)[:, None, :]).reshape(rows, -1),
            (weighed[:, :, None] * (data.x @ left)[:, None, :]).reshape(rows, -1),
        ],
        axis=1,
    )
    mixed = means.T @ jacobian
    curvature = jacobian.T @ jacobian - mixed.T @ inverse @ mixed
    downhill = jacobian.T @ (data.y - means @ coefficients)
    step = np.linalg.lstsq(curvature, downhill, rcond=1e-9)[0]  # P and Q may turn against each other
    to_left, to_right = np.split(step, 2)
    return to_left.reshape(left.shape), to_right.reshape(right.shape)
