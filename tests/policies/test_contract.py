"""The contract of interactions holds for every one registered, and rejects broken ones by name."""

from functools import partial

import pytest
import torch
from torch import nn

import policies
from policies import Interaction, InvalidInteraction, SelfAttention, register, validate
from policies.embedding import rotate
from policies.registry import interaction

MODULE = '''
import torch
from policies import Interaction, register


class Nearest(Interaction):
    """A value of each, turned to where i stands, weighed by how alike they are."""

    def __init__(self, d_model, n_heads, d_head):
        super().__init__(d_model)
        self.value = torch.nn.Linear(d_model, d_model, bias=False)

    def answer(self, x, memory, rotation, reach):
        alike = torch.exp(-torch.cdist(x, memory)) * reach.pairs()[:, 0]
        return alike @ self.value(memory)


register("nearest", Nearest)
'''


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", sorted(policies.names()))
def test_every_interaction_holds_the_contract(name, seed):
    validate(name, seed)


def test_a_module_of_ones_own_needs_a_class_and_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(policies.registry, "_registry", dict(policies.registry._registry))
    (tmp_path / "near.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    assert policies.find("near:nearest") == "nearest"
    validate("nearest")
    assert policies.names()["nearest"].startswith("A value of each")


class Broken(SelfAttention):
    """Self-attention, but for one thing."""

    def __init__(self, d_model, n_heads, d_head):
        super().__init__(d_model, n_heads, d_head, kind="linear")


class Narrow(Broken):
    def answer(self, *given):
        return super().answer(*given)[..., :3]


class Nan(Broken):
    def answer(self, *given):
        return super().answer(*given) * torch.nan


class Single(Broken):
    def answer(self, *given):
        return super().answer(*given).float()


class Noisy(Broken):
    def answer(self, *given):
        return super().answer(*given) + 1e-3 * torch.randn(())


class InPlace(Broken):
    def forward(self, x, *given):
        return super().forward(x.mul_(2), *given)


class Ordered(Broken):
    def answer(self, x, memory, rotation, reach):
        return super().answer(x, memory, rotation, reach) + memory.cumsum(1) * reach.mask[..., None]


class Counting(Broken):
    """Divides by the width of the padded array."""

    def answer(self, x, *given):
        return super().answer(x, *given) / x.shape[1]


class Padded(Broken):
    def forward(self, x, *given):
        return super().forward(x, *given) + x.sum(1, keepdim=True)


class Omniscient(Broken):
    def answer(self, x, memory, rotation, reach):
        return super().answer(x, memory, rotation, reach._replace(visible=None))


class Hearsay(Broken):
    """Reads what the others ask with."""

    def answer(self, x, memory, rotation, reach):
        return super().answer(x, x, rotation, reach)


class Batched(Broken):
    def answer(self, x, *given):
        return super().answer(x, *given) + x.new_tensor(len(x)).log()


class Spoilt(Broken):
    """Lets NaN into its weights' gradients."""

    def forward(self, x, mask=None, *given):
        y = super().forward(x, mask, *given)
        return y if mask is None else y + torch.where(mask[..., None], self.query(x)[..., :16], 0)


class Lonely(Broken):
    """Says something else to those that see nobody."""

    def answer(self, x, memory, rotation, reach):
        nobody = ~reach.pairs()[:, 0].any(-1, keepdim=True)
        return super().answer(x, memory, rotation, reach) + nobody * (reach.mask.shape[1] > 1)


class Placed(Broken):
    """Turns and does not turn back."""

    def answer(self, x, memory, rotation, reach):
        y = super().answer(x, memory, rotation, reach)
        if rotation.values is None:
            return y
        wide = rotate(nn.functional.pad(y, (0, 16)), rotation.values)
        return torch.where(reach.mask[..., None], wide[..., :16], y)


class Explosive(Broken):
    def answer(self, *given):
        y = super().answer(*given)
        return torch.where(y == y.amax(), y, y) + (y - y).abs().sqrt()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Narrow, r"Narrow, given a mask only: answers with torch.float64 of .*, 3\), not"),
        (Single, "answers with torch.float32 of"),
        (Nan, "answers with numbers that are not finite"),
        (Noisy, "answers differently when asked twice"),
        (InPlace, "answers differently when asked twice|changes its arguments"),
        (Ordered, "another order of the entities changes their answers, by"),
        (Counting, "rows where no entity is change the answers"),
        (Padded, "rows where no entity is change the answers"),
        (Omniscient, r"given \['visible'\]: entities out of sight change the answer"),
        (Hearsay, "others are read from x, not memory"),
        (Batched, "other sets of the batch change the answers"),
        (Spoilt, "the gradient of query.weight is not finite"),
        (Lonely, "an entity that sees no other is not answered as one that is alone"),
        (Placed, "moving everything changes the answers"),
        (Explosive, "the gradient of .* is not finite"),
    ],
)
def test_broken_interactions_are_rejected_by_what_is_wrong(made, message):
    with pytest.raises(InvalidInteraction, match=message):
        validate(made)


def test_a_module_with_dropout_is_asked_without():
    validate(Dropping)


class Dropping(Broken):
    def answer(self, *given):
        return nn.functional.dropout(super().answer(*given), training=self.training)


def test_a_cell_that_is_run_again_registers_again(monkeypatch):
    monkeypatch.setattr(policies.registry, "_registry", dict(policies.registry._registry))
    register("narrow", Narrow)
    register("narrow", partial(Single), "the same module's")
    assert policies.names()["narrow"] == "the same module's"
    with pytest.raises(ValueError, match="policy name 'narrow' is taken"):
        register("narrow", SelfAttention)
    with pytest.raises(ValueError, match="make of 'mine' must be a class or function, not Linear"):
        register("mine", nn.Linear(4, 4))


def test_bad_names_are_named():
    with pytest.raises(ValueError, match=r"policy must be one of sa, sa_linear, .*, not 'mlp9'; one of"):
        interaction("mlp9")
    with pytest.raises(ValueError, match="policy name 'sa' is taken"):
        register("sa", SelfAttention)
    with pytest.raises(ValueError, match=r"policy name must be a word .*, not 'my policy'"):
        register("my policy", SelfAttention)
    with pytest.raises(ValueError, match="policy 'nowhere:sa': cannot import 'nowhere'"):
        policies.find("nowhere:sa")
    with pytest.raises(NotImplementedError, match="Interaction weighs no pairs"):
        Interaction(4).weights(torch.zeros(1, 2, 4))
