"""The README.md of an exported policy, as Hugging Face's model cards: for machines, then for people."""

from __future__ import annotations

import json
from typing import Any

from torch import Tensor

from policies import files
from train.checkpoint import Checkpoint
from train.policy import EntityPolicy

_USE = {
    "onnx": """`policy.onnx`, with onnxruntime alone:

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("policy.onnx")
entities, mask = np.zeros((1, 12, {width}), np.float32), np.ones((1, 12), bool)
action, value = session.run(None, {{"entities": entities, "mask": mask}})
```""",
    "torchscript": """`policy.pt`, with torch alone:

```python
import torch

policy = torch.jit.load("policy.pt")
entities, mask = torch.zeros(1, 12, {width}), torch.ones(1, 12, dtype=torch.bool)
action, value = policy(entities, mask)
```""",
    "safetensors": """`config.json` and `model.safetensors`, with interact-env:

```python
import policies
import torch

network = policies.load(".")
entities, mask = torch.zeros(1, 12, {width}), torch.ones(1, 12, dtype=torch.bool)
action, value = network(entities, mask)  # of every entity of the set, not only the first
```""",
}


_TEXT = """---
{front}
---

# {policy} on {env}

A `{policy}` policy of {n_parameters} parameters that acts for each agent of `{env}` from the set of
entities that it sees, itself first; trained with PPO for {env_steps} env steps. It takes any number of them.

## World

{world}

The row of an entity:

{columns}

## Use

Of agents that each see a set of entities: `entities` (agents, entities, columns) float32, the own row first,
and `mask` (agents, entities), true where an entity is. `value` has one number for each agent, `action`
{n_outputs}: the {action}.

{use}

## Network

{network}

## Evaluation

{evaluation}
"""


def text(
    saved: Checkpoint, policy: EntityPolicy, formats: tuple[str, ...], evaluation: dict[str, Any] | None
) -> str:
    """The card.

    Args:
        saved: what is exported.
        policy: built from it.
        formats: that it is exported in.
        evaluation: what `interact-env evaluate` saved; None: nothing yet.
    """
    weights = policy.weights()
    n_parameters = sum(tensor.numel() for tensor in weights.values())
    return _TEXT.format(
        front=_front(saved, evaluation),
        policy=saved.network["policy"],
        env=saved.env,
        n_parameters=f"{n_parameters:,}",
        env_steps=f"{saved.env_steps:,}",
        world=_table(("parameter", "value"), [(k, repr(v)) for k, v in saved.parameters.items()]),
        columns=_table(("column", "kind", "unit", "range"), [_column(c) for c in saved.config["columns"]]),
        action=_action(weights.get(files.SPREAD)),
        n_outputs=saved.config["n_outputs"],
        use="\n\n".join(_USE[form].format(width=len(saved.config["columns"])) for form in formats),
        network=_table(("setting", "value"), [(k, repr(v)) for k, v in saved.network.items()]),
        evaluation=_evaluated(saved, evaluation),
    )


def _column(column: dict[str, Any]) -> tuple[str, ...]:
    return column["name"], column["kind"], column["unit"], f"{column['low']:g} to {column['high']:g}"


def _action(spread: Tensor | None) -> str:
    if spread is None:
        return "logits of the actions"
    return (
        f"means of the actions, whose deviations are {', '.join(f'{v:.3f}' for v in spread.exp().tolist())}"
    )


def _results(saved: Checkpoint, evaluation: dict[str, Any] | None) -> list[dict[str, Any]]:
    rows = (evaluation or {}).get("results", [])
    return [row for row in rows if row["policy"] == saved.network["policy"] and row["estimates"]]


def _front(saved: Checkpoint, evaluation: dict[str, Any] | None) -> str:
    """Front matter: YAML, of which JSON is a part."""
    name = saved.network["policy"]
    front: dict[str, Any] = {
        "library_name": "interact-env",
        "pipeline_tag": "reinforcement-learning",
        "tags": ["multi-agent-reinforcement-learning", "attention", saved.env, name],
    }
    metrics = [
        {
            "type": "reward per agent step",
            "name": f"{row['n_agents']} agents, {row['arena']}",
            "value": row["estimates"]["reward"]["mean"],
        }
        for row in _results(saved, evaluation)
    ]
    if metrics:
        task = {"type": "reinforcement-learning", "name": "multi-agent reinforcement learning"}
        result = {"task": task, "dataset": {"type": saved.env, "name": saved.env}, "metrics": metrics}
        front["model-index"] = [{"name": f"{name}-{saved.env}", "results": [result]}]
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items())


def _evaluated(saved: Checkpoint, evaluation: dict[str, Any] | None) -> str:
    results = _results(saved, evaluation)
    if evaluation is None or not results:
        return "Not evaluated yet: `interact-env evaluate` does."
    metrics = list(results[0]["estimates"])
    rows = [
        (
            row["arena"],
            str(row["n_agents"]),
            *("{mean:.3f} [{low:.3f}, {high:.3f}]".format(**row["estimates"][metric]) for metric in metrics),
        )
        for row in results
    ]
    episodes = evaluation["episodes"]
    about = f"Per agent step (return: per episode), mean and 95% interval over {episodes} episodes:"
    return f"{about}\n\n{_table(('arena', 'agents', *metrics), rows)}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
