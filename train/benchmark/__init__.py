"""Architectures across agent counts: a grid of runs, its results, their statistics, and a report."""
