import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interact_env.engine import random

WORDS = st.integers(0, 2**32 - 1)


def key(*words):
    return random.Key(*(np.uint64(w) for w in words))


@pytest.mark.parametrize(
    ("counter", "seed", "answer"),
    [  # Random123's known-answer tests for philox4x32-10
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_answers(counter, seed, answer):
    words = [np.uint64(w) for w in (*counter, *seed)]
    assert tuple(int(w) for w in random.philox(*words)) == answer


@settings(deadline=None)
@given(WORDS, WORDS, st.integers(1, 300))
def test_shuffled_is_a_permutation(seed, episode, n):
    images = [random.shuffled(key(seed, 0, 0, episode), 0, i, n) for i in range(n)]
    assert sorted(images) == list(range(n))


@pytest.mark.parametrize("n", [3, 9, 25])
def test_shuffled_sends_an_element_anywhere_equally_often(n):
    images = [random.shuffled(key(0, 0, 0, episode), 0, 1, n) for episode in range(200 * n)]
    counts = np.bincount(images, minlength=n)
    chi_square = ((counts - 200) ** 2 / 200).sum()
    assert chi_square < n + 5 * np.sqrt(2 * n)


@settings(deadline=None)
@given(WORDS, WORDS, WORDS)
def test_uniform_is_in_the_unit_interval(seed, agent, purpose):
    value = random.uniform(key(seed, 0, 0, 0), agent, purpose)
    assert 0 <= value < 1


def test_uniform_and_below_have_the_right_mean():
    draws = [random.uniform(key(1, 2, 3, 4), i, 0) for i in range(20_000)]
    assert abs(np.mean(draws) - 0.5) < 0.01
    words = [random.bits(key(1, 2, 3, 4), i, 0)[1] for i in range(20_000)]
    assert abs(np.mean([random.below(w, 7) for w in words]) - 3) < 0.06


@pytest.mark.parametrize("position", range(6))
def test_every_part_of_the_key_matters(position):
    words = [1, 2, 3, 4, 5, 6]
    same = random.bits(key(*words[:4]), *words[4:])
    words[position] += 1
    assert random.bits(key(*words[:4]), *words[4:]) != same
