"""The table of what drawing takes; its figures are printed, not asserted."""

from rich.console import Console

from train.speed import drawing


def test_the_table_holds_every_world_and_the_recording(monkeypatch, capsys):
    monkeypatch.setattr(drawing, "SIZE", (64, 64))
    monkeypatch.setattr(drawing, "COUNTS", (2, 4))
    monkeypatch.setattr(drawing, "_STEPS", 1)
    reported = []
    table = drawing.measure(1, lambda done, total, text: reported.append((done, total)))
    Console(width=150).print(table)
    shown = capsys.readouterr().out
    for world, _ in drawing.WORLDS:
        assert shown.count(world) >= 2
    assert "sa's attention" in shown
    assert "300 frames to mp4" in shown
    assert reported == [(k, 6) for k in range(6)]
