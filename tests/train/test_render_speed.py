"""The table of what drawing takes; its figures are printed, not asserted."""

from rich.console import Console

from train import render_speed


def test_the_table_holds_every_world_and_the_recording(monkeypatch, capsys):
    monkeypatch.setattr(render_speed, "SIZE", (64, 64))
    monkeypatch.setattr(render_speed, "COUNTS", (2, 4))
    monkeypatch.setattr(render_speed, "_STEPS", 1)
    reported = []
    table = render_speed.measure(1, lambda done, total, text: reported.append((done, total)))
    Console(width=150).print(table)
    shown = capsys.readouterr().out
    for world, _ in render_speed.WORLDS:
        assert shown.count(world) >= 2
    assert "sa's attention" in shown
    assert "300 frames to mp4" in shown
    assert reported == [(k, 6) for k in range(6)]
