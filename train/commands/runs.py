"""A saved run as the commands want it, with worlds and policies of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported where they are used: torch takes seconds
    from interact_env import WorldBatch
    from train import checkpoint


def load(run: Path, env: str = "", policy: str = "", pointer: str = "latest") -> checkpoint.Checkpoint:
    """A checkpoint of a run.

    Args:
        run: its directory.
        env: its world as my_module:my_world_v0, if it is one of one's own.
        policy: its policy as my_module:my_name, if it is one of one's own.
        pointer: "latest" or "best".

    Raises:
        ValueError: the world or policy is not the run's, or there is no good checkpoint.
    """
    import interact_env
    import policies
    from train import checkpoint

    saved = checkpoint.load(run, pointer)
    if env and interact_env.world(env).name != saved.env:
        raise ValueError(f"--env {env} is not the world of the run: {saved.env}")
    if policy and policies.find(policy) != saved.network["policy"]:
        raise ValueError(f"--policy {policy} is not the policy of the run: {saved.network['policy']}")
    return saved


def same_columns(saved: checkpoint.Checkpoint, changes: dict[str, Any]) -> None:
    """Refuse a world whose entity rows mean something else than those that the policy was trained on.

    Raises:
        ValueError: they do.
    """

    def meaning(batch: WorldBatch) -> list[tuple[str, str, int]]:
        return [(column.name, column.kind, column.size) for column in batch.columns]

    trained, given = meaning(saved.batch()), meaning(saved.batch(**changes))
    if trained != given:
        raise ValueError(f"--env-params changes the entity row from {trained} to {given}")
