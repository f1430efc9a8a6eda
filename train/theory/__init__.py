"""Experiments of the theory: supervised tasks whose answers are known."""
