"""Numbers of parameters, and widths that match them."""

import pytest

import interact_env
import policies
from policies import EntityActorCritic, matched_width, n_parameters

COLUMNS = interact_env.make_batch("colliding_agents_v0", seed=0).columns


@pytest.mark.parametrize("policy", sorted(policies.names()))
def test_the_width_matches_the_number_of_parameters(policy):
    width = matched_width(100_000, COLUMNS, 5, policy=policy)
    assert width % 4 == 0
    made = EntityActorCritic(COLUMNS, 5, policy=policy, d_model=width)
    found = sum(p.numel() for p in made.parameters())
    assert found == n_parameters(COLUMNS, 5, policy=policy, d_model=width)
    assert abs(found / 100_000 - 1) < 0.1
    for other in (width - 4, width + 4):
        assert abs(n_parameters(COLUMNS, 5, policy=policy, d_model=other) - 100_000) >= abs(found - 100_000)


def test_a_number_out_of_reach_is_named():
    with pytest.raises(ValueError, match=r"match_parameters must be in \[[\d,]+, [\d,]+\] here, not 10"):
        matched_width(10, COLUMNS, 5, policy="none")
    with pytest.raises(ValueError, match="match_parameters must be in"):
        matched_width(10**12, COLUMNS, 5, policy="none")
