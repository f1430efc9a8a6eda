"""What every interaction must do, as a call: for one's own module, and for the tests of ours."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn

from policies.embedding import Rotary, Rotation
from policies.registry import Make, interaction

D_MODEL, N_HEADS, N_AXES = 16, 2, 2
_PERIOD = 16.0
# Of float64 results, relative to the largest.
_TOLERANCE = 1e-9
_TURNED = ("", "rotation", "rotation of scores", "rotation of values")


class InvalidInteraction(ValueError):
    """An interaction does not do what every interaction must."""


class _Sets(NamedTuple):
    """Arguments of a call."""

    x: Tensor
    mask: Tensor
    visible: Tensor | None
    rotation: Rotation | None
    memory: Tensor


def validate(make: str | Make, seed: int = 0) -> None:
    """Check an interaction on random sets of up to 12 entities, in float64.

    Args:
        make: a registered name, a class, or any make(d_model, n_heads, d_head) -> module.
        seed: of the sets and the weights.

    Raises:
        InvalidInteraction: a check failed; the message says which, and by how much.
    """
    made = interaction(make) if isinstance(make, str) else make
    name = make if isinstance(make, str) else getattr(make, "__name__", repr(make))
    torch_state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        module = made(D_MODEL, N_HEADS, Rotary([_PERIOD] * N_AXES).d_head).double().eval()
        for check, limited, turned in product(CHECKS, (False, True), _TURNED):
            try:
                check(module, _sets(limited, turned))
            except InvalidInteraction as error:
                given = [word for word, there in (("visible", limited), (turned, turned)) if there]
                raise InvalidInteraction(f"{name}, given {given or 'a mask only'}: {error}") from None
    finally:
        torch.set_rng_state(torch_state)


def _sets(limited: bool, turned: str) -> _Sets:
    """Three sets; in the first everybody is there, in the last nobody."""
    sets, n = 3, int(torch.randint(2, 13, ()))
    mask = torch.rand(sets, n) < 0.7
    mask[0], mask[-1] = True, False
    visible = ((torch.rand(sets, n, n) < 0.6) | torch.eye(n, dtype=torch.bool)) if limited else None
    rotation = _rotation(_positions(sets, n)) if turned else None
    if rotation is not None and turned != "rotation":
        rotation = rotation._replace(**{"values" if turned == "rotation of scores" else "scores": None})
    x, memory = torch.randn(2, sets, n, D_MODEL, dtype=torch.float64)
    return _Sets(x, mask, visible, rotation, memory)


def _positions(sets: int, n: int) -> Tensor:
    return _PERIOD * torch.rand(sets, n, N_AXES, dtype=torch.float64)


def _rotation(positions: Tensor) -> Rotation:
    return Rotary([_PERIOD] * N_AXES).double()(positions)


def _each(rotation: Rotation | None, change: Callable[[Tensor], Tensor]) -> Rotation | None:
    return None if rotation is None else Rotation(*(None if t is None else change(t) for t in rotation))


def _answers(module: nn.Module, given: _Sets) -> None:
    before = [t.clone() for t in (given.x, given.mask, given.memory)]
    y = module(*given)
    if not isinstance(y, Tensor) or y.shape != given.x.shape or y.dtype != given.x.dtype:
        found = f"{y.dtype} of {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise InvalidInteraction(f"answers with {found}, not {given.x.dtype} of {tuple(given.x.shape)}")
    if not torch.isfinite(y[given.mask]).all():
        raise InvalidInteraction("answers with numbers that are not finite")
    if not torch.equal(y[given.mask], module(*given)[given.mask]):
        raise InvalidInteraction("answers differently when asked twice")
    if any(not torch.equal(a, b) for a, b in zip(before, (given.x, given.mask, given.memory), strict=True)):
        raise InvalidInteraction("changes its arguments")


def _does_not_care_for_order(module: nn.Module, given: _Sets) -> None:
    if getattr(module, "ordered", False):
        return
    order = torch.randperm(given.x.shape[1])
    visible = None if given.visible is None else given.visible[:, order][:, :, order]
    rotation = _each(given.rotation, lambda t: t[:, order])
    shuffled = _Sets(given.x[:, order], given.mask[:, order], visible, rotation, given.memory[:, order])
    expected = module(*given)[:, order]
    _same(module(*shuffled), expected, shuffled.mask, "another order of the entities changes their answers")


def _does_not_read_padding(module: nn.Module, given: _Sets) -> None:
    sets, n, _ = given.x.shape
    more = int(torch.randint(1, 50, ()))

    def padded(t: Tensor) -> Tensor:
        cleared = torch.where(given.mask[..., None], t, torch.nan)
        return torch.cat([cleared, t.new_full((sets, more, *t.shape[2:]), torch.nan)], dim=1)

    visible = None
    if given.visible is not None:
        visible = torch.ones(sets, n + more, n + more, dtype=torch.bool)
        visible[:, :n, :n] = given.visible
    mask = torch.cat([given.mask, given.mask.new_zeros(sets, more)], dim=1)
    rotation = _each(given.rotation, padded)
    wider = _Sets(padded(given.x), mask, visible, rotation, padded(given.memory))
    _same(module(*wider)[:, :n], module(*given), given.mask, "rows where no entity is change the answers")


def _does_not_read_what_is_out_of_sight(module: nn.Module, given: _Sets) -> None:
    if given.visible is None:
        return
    expected = module(*given)[:, :1]
    hidden = ~given.visible[:, 0, :, None]
    changed = given._replace(memory=torch.where(hidden, torch.randn_like(given.memory), given.memory))
    _same(module(*changed)[:, :1], expected, given.mask[:, :1], "entities out of sight change the answer")


def _reads_others_from_memory(module: nn.Module, given: _Sets) -> None:
    """What others ask, x, holds what they have seen themselves: news from out of sight."""
    x = torch.cat([given.x[:, :1], torch.randn_like(given.x[:, 1:])], dim=1)
    expected = module(*given)[:, :1]
    _same(
        module(*given._replace(x=x))[:, :1], expected, given.mask[:, :1], "others are read from x, not memory"
    )


def _does_not_mix_sets(module: nn.Module, given: _Sets) -> None:
    visible = None if given.visible is None else given.visible[:1]
    first = _Sets(
        given.x[:1], given.mask[:1], visible, _each(given.rotation, lambda t: t[:1]), given.memory[:1]
    )
    _same(module(*first), module(*given)[:1], first.mask, "other sets of the batch change the answers")


def _answers_one_that_is_alone(module: nn.Module, given: _Sets) -> None:
    """Alone in its set, and among others that it does not see, it must get the same."""
    x, memory = given.x[:, :1], given.memory[:, :1]
    rotation = _each(given.rotation, lambda t: t[:, :1])
    there = torch.ones(len(x), 1, dtype=torch.bool)
    expected = module(x, there, None, rotation, memory)
    first = torch.zeros_like(given.mask)
    first[:, 0] = True
    nobody = torch.eye(given.x.shape[1], dtype=torch.bool).expand(len(x), -1, -1)
    for mask, visible in ((first, None), (torch.ones_like(first), nobody)):
        found = module(given.x, mask, visible, given.rotation, given.memory)[:, :1]
        _same(found, expected, there, "an entity that sees no other is not answered as one that is alone")


def _does_not_know_where_the_world_is(module: nn.Module, given: _Sets) -> None:
    if given.rotation is None:
        return
    where = _positions(*given.x.shape[:2])
    further = where + 100 * torch.rand(N_AXES, dtype=torch.float64)
    kept = [angles is not None for angles in given.rotation]
    rotations = [
        Rotation(*(t if keep else None for t, keep in zip(_rotation(at), kept, strict=True)))
        for at in (where, further)
    ]
    here, there = (module(*given._replace(rotation=rotation)) for rotation in rotations)
    _same(there, here, given.mask, "moving everything changes the answers")


def _has_finite_gradients(module: nn.Module, given: _Sets) -> None:
    nowhere = ~given.mask[..., None]
    x, memory = (t.masked_fill(nowhere, torch.nan).requires_grad_(True) for t in (given.x, given.memory))
    y = module(*given._replace(x=x, memory=memory))
    if not y.requires_grad:
        return
    module.zero_grad()
    y[given.mask].square().sum().backward()
    grads = {"x": x.grad, "memory": memory.grad, **{k: p.grad for k, p in module.named_parameters()}}
    for name, grad in grads.items():
        if grad is not None and not torch.isfinite(grad).all():
            raise InvalidInteraction(f"the gradient of {name} is not finite")


CHECKS: tuple[Callable[[nn.Module, _Sets], None], ...] = (
    _answers,
    _does_not_care_for_order,
    _does_not_read_padding,
    _does_not_read_what_is_out_of_sight,
    _reads_others_from_memory,
    _does_not_mix_sets,
    _answers_one_that_is_alone,
    _does_not_know_where_the_world_is,
    _has_finite_gradients,
)


def _same(found: Tensor, expected: Tensor, mask: Tensor, failure: str) -> None:
    if not mask.any():
        return
    off = (found - expected)[mask].abs().max()
    # Written so that NaN fails.
    if not off <= _TOLERANCE * (1 + expected[mask].abs().max()):
        raise InvalidInteraction(f"{failure}, by {off:.2g}")
