"""Attention policies over sets of entities: torch only, usable with any environment."""

from policies.actor_critic import EntityActorCritic
from policies.attention import SelfAttention
from policies.baselines import DeepSets
from policies.embedding import EntityEmbedding, Fourier, Rotary
from policies.registry import names, register

__all__ = [
    "DeepSets",
    "EntityActorCritic",
    "EntityEmbedding",
    "Fourier",
    "Rotary",
    "SelfAttention",
    "names",
    "register",
]
