"""Counter-based random numbers: a draw is a pure function of (seed, world, episode, agent, purpose).

No generator is kept anywhere, so world b plays the same episode whatever the batch size, the thread
count, the order of the agents or what any other environment does.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011
(Philox4x32-10; the known answers of their Random123 library are in the tests).
"""

from typing import NamedTuple

import numpy as np

from interact_env.engine.rule import rule

# Agent number of draws that belong to the whole world.
WORLD = 0xFFFFFFFF

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_TO_UNIT = np.float32(2.0**-24)
_ROUND = np.uint64(0x9E3779B1)


class Key(NamedTuple):
    """What the draws of one episode of one world depend on: four words of 32 bits (as uint64)."""

    seed_low: np.uint64
    seed_high: np.uint64
    world: np.uint64
    episode: np.uint64


@rule
def philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10: four 32-bit counter words and two key words to four random words (all uint64)."""
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ k0, p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ k1, p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@rule
def bits(key, agent, purpose):
    """Four independent random words of 32 bits (as uint64) for this agent and purpose."""
    return philox(
        key.world,
        key.episode,
        np.uint64(agent),
        np.uint64(purpose),
        key.seed_low,
        key.seed_high,
    )


@rule
def uniform(key, agent, purpose):
    """One float32 in [0, 1), a multiple of 2**-24."""
    return np.float32(bits(key, agent, purpose)[0] >> np.uint64(8)) * _TO_UNIT


@rule
def below(word, n):
    """A random word of 32 bits turned into an integer in [0, n) (multiply, shift; bias < n / 2**32)."""
    return np.int64((word * np.uint64(n)) >> _SHIFT)


@rule
def shuffled(key, purpose, i, n):
    """The image of i under a random permutation of range(n), found without the other images.

    A Feistel network of four rounds permutes the next power of four; values outside [0, n) are
    fed back (cycle walking), fewer than four rounds of it on average.

    Source: Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.
    """
    half = np.uint64(1)
    while (np.uint64(1) << (half + half)) < np.uint64(n):
        half += np.uint64(1)
    low = (np.uint64(1) << half) - np.uint64(1)
    r0, r1, r2, r3 = bits(key, WORLD, purpose)
    value = np.uint64(i)
    while True:
        left, right = value >> half, value & low
        left, right = right, left ^ (_mix(right, r0) & low)
        left, right = right, left ^ (_mix(right, r1) & low)
        left, right = right, left ^ (_mix(right, r2) & low)
        left, right = right, left ^ (_mix(right, r3) & low)
        value = (left << half) | right
        if value < np.uint64(n):
            return np.int64(value)


@rule
def _mix(value, salt):
    word = ((value ^ salt) * _ROUND) & _LOW
    word ^= word >> np.uint64(15)
    word = (word * _M1) & _LOW
    return word ^ (word >> np.uint64(13))
