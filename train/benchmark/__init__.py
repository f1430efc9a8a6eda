"""Architectures trained at some numbers of agents and tested at many: the grid, its runs, their results."""
