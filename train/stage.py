"""Players side by side, all seen in the same way: what a window shows, and a file records."""

from __future__ import annotations

from collections.abc import Sequence

import pygame

from interact_env.render import Bar, Look, Moment, Overlay, Viewer, between
from interact_env.render.style import INK, rgb
from train.player import Insight, Player

_GAP = 4  # pixels between players


class Stage:
    """One or more players; between two steps everything is shown on its way."""

    def __init__(self, players: Sequence[Player], look: Look, *, layer: int = -1, head: int = -1) -> None:
        """Show players.

        Args:
            players: side by side, from the left.
            look: where the cameras stand, and what they show.
            layer: whose attention is shown; -1: the last.
            head: of that layer; -1: the mean of all.
        """
        self.players, self.look, self.layer, self.head = list(players), look, layer, head
        self._before: list[Moment] | None = None
        self._seen = self._insights()

    @property
    def over(self) -> bool:
        """Whether all episodes have ended."""
        return all(player.over for player in self.players)

    @property
    def attention(self) -> tuple[int, int]:
        """Layers and heads of the attention that is shown of the first player; (0, 0): of none."""
        return self._seen[0].attention

    def advance(self) -> bool:
        """One step on; False: all episodes are over."""
        before, insights = [player.now for player in self.players], self._insights()
        moved = [player.forward() for player in self.players]
        self._before, self._seen = before, insights
        return any(moved)

    def hold(self) -> None:
        """Show what is now, after a step back, a change of the look, or the end of a step."""
        self._before = None
        self._seen = self._insights()

    def surface(
        self,
        size: tuple[int, int],
        part: float = 1.0,
        *,
        facts: Sequence[Bar] = (),
        note: str = "",
        keys: Sequence[tuple[str, str]] = (),
    ) -> pygame.Surface:
        """A picture.

        Args:
            size: (width, height) of the picture, pixels.
            part: of the step that is under way.
            facts: more for the status lines.
            note: across the first player's picture.
            keys: a page of keys, over the first player's picture.
        """
        whole = pygame.Surface(size, depth=32)
        whole.fill(rgb(INK))
        for k, (player, insight) in enumerate(zip(self.players, self._seen, strict=True)):
            left, width = self.pane(size, k)
            overlay = Overlay(
                title=player.title,
                links=insight.links,
                card=insight.card,
                facts=tuple(facts),
                note=note if k == 0 else "",
                help=tuple(keys) if k == 0 else (),
            )
            picture = Viewer(size=(width, size[1])).surface(self.shown(k, part), self.look, overlay)
            whole.blit(picture, (left, 0))
        return whole

    def shown(self, k: int, part: float = 1.0) -> Moment:
        """What is shown of player k."""
        now = self.players[k].now
        if self._before is None or part >= 1:
            return now
        before = self._before[k]
        return before._replace(scene=between(before.scene, now.scene, part))

    def pane(self, size: tuple[int, int], k: int) -> tuple[int, int]:
        """The left edge and the width of player k's picture."""
        n = len(self.players)
        width = max(16, (size[0] - _GAP * (n - 1)) // n)
        return k * (width + _GAP), width

    def _insights(self) -> list[Insight]:
        return [player.inspect(self.look.selected, self.layer, self.head) for player in self.players]
