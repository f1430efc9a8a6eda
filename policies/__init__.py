"""Attention policies over sets of entities: torch only, usable with any environment."""

from policies.actor_critic import EntityActorCritic
from policies.attention import HyperAttention, HyperFeatureAttention, MixedAttention, SelfAttention
from policies.baselines import MLP, DeepSets, InducedAttention, NoInteraction
from policies.contract import InvalidInteraction, validate
from policies.embedding import EntityEmbedding, Fourier, Rotary, Rotation
from policies.files import LoadError, load
from policies.interaction import Interaction
from policies.registry import find, names, register
from policies.size import matched_width, n_parameters

__all__ = [
    "MLP",
    "DeepSets",
    "EntityActorCritic",
    "EntityEmbedding",
    "Fourier",
    "HyperAttention",
    "HyperFeatureAttention",
    "InducedAttention",
    "Interaction",
    "InvalidInteraction",
    "LoadError",
    "MixedAttention",
    "NoInteraction",
    "Rotary",
    "Rotation",
    "SelfAttention",
    "find",
    "load",
    "matched_width",
    "n_parameters",
    "names",
    "register",
    "validate",
]
