"""The table of what attention costs; its figures are printed, not asserted, but for memory."""

import shutil

import torch
from rich.console import Console

from policies import HyperAttention
from train.speed import attention


def test_the_table_holds_every_module(monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(attention, "GROWTH", (4, 8))
    table = attention.measure([4, 8], 1, lambda done, total, text: None)
    Console(width=150).print(table)
    shown = capsys.readouterr().out
    for name in attention.MODULES:
        assert shown.count(f"{name} ") == 2
    assert shown.count("4 to 8") == len(attention.MODULES)


def test_peak_memory_is_what_is_held_at_once():
    def task():
        for _ in range(3):
            torch.ones(1_000_000)
        both = torch.ones(1_000_000), torch.ones(1_000_000)
        del both

    assert attention.peak_bytes(task) == 8_000_000


def test_softmax_over_pairs_of_128_entities_stays_below_150_megabytes():
    module, x = HyperAttention(64), torch.randn(16, 128, 64)
    with torch.no_grad():
        assert attention.peak_bytes(lambda: module(x)) < 150e6
