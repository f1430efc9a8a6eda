"""What a training run is made of: one flat record, saved with the run."""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any

import tyro

import interact_env

# What a run may ask for at the most: no more than sense, and less than would overflow a count.
_MOST = {
    "total_steps": 10**15,
    "n_worlds": 2**24,
    "n_steps": 2**24,
    "n_epochs": 10_000,
    "d_model": 2**14,
    "n_layers": 256,
    "n_heads": 1024,
}
_MOST_THREADS = 4096
_FASTEST = 1e3  # learning rate


@dataclasses.dataclass
class TrainConfig:
    """Train a policy with PPO and save it in a new directory."""

    out: Path
    """Directory of the run; made here, must not hold a run yet."""
    env: str = "colliding_agents_v0"
    """World to train in, see `interact-env list`; one of your own as my_module:my_world_v0."""
    policy: str = "hfa_linear"
    """Interaction of the policy, see `interact-env list`; one of your own as my_module:my_name."""
    n_agents: Annotated[str, tyro.conf.arg(aliases=("--population",))] = "8"
    """Number of agents, drawn anew for every episode if it is a range LOW-HIGH (2-16), or counts with
    weights (4:1,8:2,16:1)."""
    env_params: tuple[str, ...] = ()
    """Other parameters of the world as NAME=VALUE, such as shape=square radius=1."""
    seed: int = 0
    """Seed of the worlds, the weights and the batches."""
    total_steps: int = 204_800
    """Env steps to train for (one world advanced by one step)."""
    n_worlds: int = 256
    """Worlds that are stepped together."""
    n_steps: int = 8
    """Steps of every world between updates."""
    batch_size: int = 256
    """Worlds at a step in a minibatch; all their agents are in the loss."""
    restart_below: float = 0.5
    """Share of its agents below which a world starts anew, after a rollout; 0: only when it is over."""
    n_epochs: int = 3
    """Passes over the rollout in an update."""
    learning_rate: float = 3e-3
    """Adam's, falling linearly to 0."""
    gamma: float = 0.9
    """Discount."""
    gae_lambda: float = 0.95
    """Decay of the advantage's sum."""
    ent_coef: float = 0.003
    """Weight of the entropy bonus."""
    d_model: int = 64
    """Width of the network."""
    n_layers: int = 2
    """Interaction blocks."""
    n_heads: int = 4
    """Heads of a block."""
    match_parameters: int = 0
    """Choose --d-model so that the network has about this many parameters; 0: --d-model holds."""
    positions: str = "rotary"
    """How positions enter: rotary, rotary_qk, fourier or plain."""
    device: str = "auto"
    """auto (a GPU where there is one), cpu or cuda."""
    deterministic: bool = False
    """Use only kernels that give the same bits every time; on a CPU all do."""
    threads: int = 0
    """CPU threads; 0: as many as torch takes by itself."""
    save_every: str = "5min"
    """How often to save a checkpoint, beside the last: minutes, as 5min, or env steps, as 100000."""

    def env_parameters(self) -> dict[str, Any]:
        """Parameters of the world, `n_agents` among them.

        Raises:
            ValueError: text that is not NAME=VALUE, or a count that is not a number or a range.
        """
        return {"n_agents": count(self.n_agents), **assignments(self.env_params, taken=("n_agents",))}

    def network(self) -> dict[str, Any]:
        """Keyword arguments of `EntityActorCritic`, before --match-parameters."""
        names = ("policy", "d_model", "n_layers", "n_heads", "positions")
        return {name: getattr(self, name) for name in names}

    def saving(self) -> tuple[float, bool]:
        """How often to save, and whether that is in minutes; otherwise it is in env steps.

        Raises:
            ValueError: neither.
        """
        number, minutes, rest = self.save_every.partition("min")
        try:
            every = float(number)
        except ValueError:
            every = 0.0
        if rest or not 0 < every < math.inf:
            raise ValueError(
                f"--save-every must be minutes, as 5min, or env steps, as 100000, not {self.save_every!r}"
            )
        return every, bool(minutes)

    def validate(self) -> None:
        """Check everything that can be checked before anything is written.

        Raises:
            ValueError: a value is not allowed, by its name on the command line.
        """
        if self.batch_size < 2 or self.n_worlds * self.n_steps < 2:
            # Advantages are normalised over a batch.
            raise ValueError("--batch-size, and --n-worlds times --n-steps, must be >= 2")
        for name, most in _MOST.items():
            if not 1 <= getattr(self, name) <= most:
                option = name.replace("_", "-")
                raise ValueError(f"--{option} must be in [1, {most:,}], not {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be in [0, 2**32), not {self.seed}")
        if not 0 <= self.threads <= _MOST_THREADS:
            raise ValueError(f"--threads must be in [0, {_MOST_THREADS}], not {self.threads}")
        if not 0 < self.learning_rate <= _FASTEST:
            raise ValueError(f"--learning-rate must be > 0 and <= {_FASTEST:g}, not {self.learning_rate}")
        if self.match_parameters < 0:
            raise ValueError(f"--match-parameters must be >= 0, not {self.match_parameters}")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"--{name.replace('_', '-')} must be in [0, 1], not {getattr(self, name)}")
        if not 0 <= self.restart_below <= 1:
            raise ValueError(f"--restart-below must be in [0, 1], not {self.restart_below}")
        if not 0 <= self.ent_coef < math.inf:
            raise ValueError(f"--ent-coef must be >= 0 and finite, not {self.ent_coef}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"--device must be auto, cpu or cuda, not {self.device!r}")
        self.saving()
        interact_env.world(self.env).params(self.env_parameters())


def count(text: str) -> int | tuple[int, int] | list[tuple[int, float]]:
    """A number of agents: "8", a range "2-8", or counts with weights "4:1,8:2".

    Raises:
        ValueError: anything else.
    """
    try:
        if ":" in text:
            pairs = [part.split(":") for part in text.split(",")]
            return [(int(number), float(weight)) for number, weight in pairs]
        low, dash, high = text.partition("-")
        return (int(low), int(high)) if dash else int(low)
    except ValueError:
        raise ValueError(
            f"n_agents must be a number, a range LOW-HIGH or COUNT:WEIGHT with commas between, not {text!r}"
        ) from None


def counts(text: str, name: str = "n_agents") -> list[int]:
    """Numbers of agents, or of what else is called `name`, "2,4,8".

    Raises:
        ValueError: anything else, or a number below 1.
    """
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"{name} must be numbers >= 1 with commas between, not {text!r}")
    numbers = [int(part) for part in parts]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{name} must name each number once, not {text!r}")
    return numbers


def assignments(pairs: Iterable[str], taken: Collection[str] = ()) -> dict[str, Any]:
    """NAME=VALUE texts as a dict; values are Python literals (None, True, 1.5, (2, 8)) or words.

    Raises:
        ValueError: no name, no "=", or a name that is `taken`: set in another way.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (equals and name.isidentifier()):
            raise ValueError(f"env_params must look like NAME=VALUE, not {pair!r}")
        if name in taken:
            raise ValueError(f"env_params must not set {name}: it has an option, or a meaning, of its own")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two of deep nesting
            found[name] = value
    return found
