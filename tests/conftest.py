"""What every test sees: two worlds, one of integers and one of floats."""

import pytest
import springs
import torch

import interact_env

interact_env.register("springs_v0", springs)
N_THREADS = torch.get_num_threads()


@pytest.fixture(autouse=True)
def torch_keeps_its_threads():
    """A parallel loop of numba leaves its number of threads behind in OpenMP, and torch takes it over."""
    torch.set_num_threads(N_THREADS)
