"""What every test sees: two worlds, one of integers and one of floats."""

import springs

import interact_env
from train import training

interact_env.register("springs_v0", springs)
training.threads(0)
