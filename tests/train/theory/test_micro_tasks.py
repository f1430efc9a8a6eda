"""The small tasks' answers, and which attention solves which."""

import pytest
import torch

from train.theory.micro_tasks import TASKS, Reader, markdown, run, train

PAIRWISE, LABELS, THREE_WAY = TASKS.values()


def kinds(x, width):
    return x[..., :width].argmax(-1)[0].tolist()


def test_answers_are_those_of_the_docstring():
    generator = torch.Generator().manual_seed(0)
    x, y = PAIRWISE.draw(1, 30, generator)
    p = kinds(x, 20)
    for i in range(30):
        near = [j for j in range(30) if j != i and min((p[i] - p[j]) % 20, (p[j] - p[i]) % 20) <= 3]
        assert y[0, i] == len(near)
    x, y = LABELS.draw(1, 30, generator)
    p, label = kinds(x, 20), kinds(x[..., 20:], 4)
    signs = {}
    for i in range(30):
        near = [j for j in range(30) if j != i and min((p[i] - p[j]) % 20, (p[j] - p[i]) % 20) <= 3]
        signs.setdefault((label[i], tuple(sorted(label[j] for j in near))), set()).add(float(y[0, i]))
    assert all(len(found) == 1 for found in signs.values()), "a function of the labels that are near"
    assert len({y for found in signs.values() for y in found}) > 3
    regulators = torch.ones(8, 8, 8, dtype=torch.bool)  # of each kind, the pairs that explain all answers
    for _ in range(40):
        x, y = THREE_WAY.draw(1, 30, generator)
        for row, answer in zip(x[0], y[0], strict=True):
            others = x[0].sum(0) - row
            regulators[row.argmax()] &= torch.outer(others, others) == answer
    assert (regulators.sum((1, 2)) == 2).all(), "one pair of kinds, in either order"


def test_a_lone_entity_has_no_answer_and_a_reader_none_to_give():
    for task in TASKS.values():
        x, y = task.draw(3, 1, torch.Generator().manual_seed(0))
        assert (y == 0).all()
        assert (Reader("sa_linear", task.width)(x) == 0).all()
        assert (Reader("none", task.width)(x) == 0).all()


@pytest.mark.long  # the experiments of coupled features and of three-way interactions show as much
def test_each_sum_is_solved_by_the_attention_that_can_express_it():
    solvers = ("sa_linear", "hfa_linear", "ha_linear")
    jobs = [(PAIRWISE, name, 500) for name in (*solvers, "deep_sets")]
    jobs += [(LABELS, "sa_linear", 1500), (LABELS, "hfa_linear", 1500)]
    jobs += [(THREE_WAY, name, 500) for name in solvers]
    worst = {
        (task.name, name): max(train(task, name, 0, steps, counts=(2, 20, 200)).values())
        for task, name, steps in jobs
    }
    assert worst["pairwise", "sa_linear"] < 1e-4
    assert worst["pairwise", "hfa_linear"] < 2e-2
    assert worst["pairwise", "ha_linear"] > 1, "pairs of others grow with the square of their number"
    assert worst["pairwise", "deep_sets"] > 0.5
    assert worst["position x label", "hfa_linear"] < worst["position x label", "sa_linear"] / 5
    assert worst["three-way", "ha_linear"] < 1e-2
    assert min(worst["three-way", "sa_linear"], worst["three-way", "hfa_linear"]) > 0.1


def test_the_table_holds_every_module_and_task():
    found = run(["sa_linear", "deep_sets"], 2, 2, 2, lambda done, total, text: None)
    lines = markdown(found).splitlines()
    assert len(lines) == 2 + 2 * len(TASKS)
    assert lines[0] == "| task | module | 2 entities | 20 entities | 200 entities | 1000 entities |"
    assert all(line.count("[") == 4 for line in lines[2:])
