"""The policy and value network: embedding, interaction blocks, heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from policies.embedding import Column, EntityEmbedding, Rotation
from policies.interaction import Interaction, head_width
from policies.registry import Make, interaction
from policies.sums import Reach


def _is_plain(module: Interaction) -> bool:
    """Whether a call does what `Interaction` says, and nothing else."""
    hooks = module._forward_hooks or module._forward_pre_hooks
    return type(module).forward is Interaction.forward and not hooks


class Block(nn.Module):
    """x + interaction(norm(x)), then x + mlp(norm(x)); a pre-LN transformer block."""

    def __init__(self, make: Make, d_model: int, n_heads: int, d_head: int) -> None:
        """`make` is an interaction of the registry."""
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.interaction = make(d_model, n_heads, d_head)
        self.mlp = nn.Sequential(
            nn.LayerNorm(d_model),
            nn.Linear(d_model, 2 * d_model),
            nn.GELU(),
            nn.Linear(2 * d_model, d_model),
        )

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        visible: Tensor | None,
        rotation: Rotation | None,
        memory: Tensor,
    ) -> Tensor:
        """(B, L, d_model) -> (B, L, d_model); all is finite, also where no entity is."""
        ours = self.interaction
        if isinstance(ours, Interaction) and _is_plain(ours):
            # Straight to the sum: nothing has to be checked or cleared here again, block by block.
            reach = Reach(mask, visible, ours.exclude_self, ours.causal)
            answer = ours.answer(self.norm(x), memory, rotation or Rotation(None, None), reach)
        else:
            answer = ours(self.norm(x), mask, visible, rotation, memory)
        x = x + answer
        return x + self.mlp(x)


class EntityActorCritic(nn.Module):
    """Action logits (or means) and values of every entity, from one joint pass over the set.

    In every block an entity asks with what it knows by then, and is answered with what can be seen of the
    others: their own rows. So an agent's output depends on the rows that it sees and on nothing else, at
    any depth, and is the same when computed from its own view. (Blocks that read each other's results
    would carry news one vision radius further with each block: communication, not observation.)
    """

    def __init__(
        self,
        columns: Sequence[Column],
        n_outputs: int,
        *,
        policy: str = "hfa_linear",
        d_model: int = 64,
        n_layers: int = 2,
        n_heads: int = 4,
        positions: str = "rotary",
    ) -> None:
        """Make the network.

        Args:
            columns: what an entity row holds.
            n_outputs: logits of a discrete action, or means of a continuous one.
            policy: name of the interaction, see `policies.names()`.
            d_model: width of the residual stream.
            n_layers: number of blocks.
            n_heads: heads of a block.
            positions: "rotary", "rotary_qk", "fourier" or "plain", see `EntityEmbedding`.

        Raises:
            ValueError: an unknown name, a size below 1, or a width that the heads do not divide.
        """
        super().__init__()
        for name, value in (
            ("n_outputs", n_outputs),
            ("d_model", d_model),
            ("n_layers", n_layers),
            ("n_heads", n_heads),
        ):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, not {value}")
        make = interaction(policy)
        self.embedding = EntityEmbedding(columns, d_model, positions)
        rotary = self.embedding.rotary
        d_head = head_width(d_model, n_heads, None if rotary is None else rotary.d_head)
        self.blocks = nn.ModuleList(Block(make, d_model, n_heads, d_head) for _ in range(n_layers))
        self.memory_norm, self.norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.actor = nn.Linear(d_model, n_outputs)
        self.critic = nn.Linear(d_model, 1)
        nn.init.orthogonal_(self.actor.weight, gain=0.01)  # starts near the uniform policy
        nn.init.zeros_(self.actor.bias)
        nn.init.zeros_(self.critic.bias)

    def forward(self, rows: Tensor, mask: Tensor, visible: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One pass over the set.

        Args:
            rows: (B, L, F) entity rows; those outside the mask may hold anything, NaN too.
            mask: (B, L) bool, True: the entity is there.
            visible: (B, L, L) bool, True: i sees j; None: each sees all.

        Returns:
            logits (B, L, n_outputs) and values (B, L).
        """
        x, rotation, memory = self._embed(rows, mask)
        for block in self.blocks:
            x = block(x, mask, visible, rotation, memory)
        x = self.norm(x)
        return self.actor(x), self.critic(x).squeeze(-1)

    @torch.no_grad()
    def weights(self, rows: Tensor, mask: Tensor, visible: Tensor | None = None) -> list[Tensor]:
        """How much entity j counts for i in each block, (B, heads, L, L); called as `forward` is.

        Raises:
            ValueError: the interaction weighs no pairs.
        """
        x, rotation, memory = self._embed(rows, mask)
        found = []
        for block in self.blocks:
            assert isinstance(block, Block)
            seen = (mask, visible, rotation, memory)
            try:
                found.append(block.interaction.weights(block.norm(x), *seen))  # type: ignore[operator]
            except NotImplementedError:
                kind = type(block.interaction).__name__
                raise ValueError(f"policy must weigh pairs to have weights; {kind} does not") from None
            x = block(x, *seen)
        return found

    def _embed(self, rows: Tensor, mask: Tensor) -> tuple[Tensor, Rotation | None, Tensor]:
        """Vectors of the entities, their rotation, and what is seen of them by others."""
        there = mask[..., None]
        x, rotation = self.embedding(torch.where(there, rows, 0.0))
        return x, rotation, torch.where(there, self.memory_norm(x), 0.0)
