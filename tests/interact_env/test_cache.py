"""Machine code kept on disk is that of the rules as they stand."""

import os
import shutil
import subprocess
import sys
import types
from typing import NamedTuple

import numba
import numpy as np
import pytest

import interact_env
from interact_env import rule
from interact_env.engine.cache import Unknown, _describe_type, fingerprint
from train import new_world

ROOT = os.path.dirname(os.path.dirname(interact_env.__file__))
WORLD = """
import constants
from interact_env import rule
FACTOR = 2.0

@rule
def inner(x):
    return x * FACTOR + constants.OFFSET

@rule
def outer(x):
    return inner(x) + 1.0
"""
CALL = """
import sys
from numba.core import event
compiled = []
class Listener(event.Listener):
    def on_start(self, e): compiled.append(str(e.data["dispatcher"].py_func.__name__))
    def on_end(self, e): pass
event.register("numba:compile", Listener())
import rules
print(rules.outer(1.0), len(compiled))
"""


def run(folder, code):
    """The words that a new process prints, which keeps its machine code in the folder."""
    env = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}", "NUMBA_CACHE_DIR": str(folder / "kept")}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120, check=True
    )
    return ended.stdout.split()


def call(folder):
    """What the rule returns in a new process, and how many functions were compiled."""
    value, compiled = run(folder, CALL)
    return float(value), int(compiled)


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
def test_an_edit_anywhere_compiles_anew_and_nothing_else_does(tmp_path):
    (tmp_path / "rules.py").write_text(WORLD)
    (tmp_path / "constants.py").write_text("OFFSET = 10.0\n")
    assert call(tmp_path) == (13.0, 2)
    assert call(tmp_path) == (13.0, 0), "from the disk"
    (tmp_path / "rules.py").write_text(WORLD.replace("x * FACTOR", "x / FACTOR"))
    assert call(tmp_path) == (11.5, 2), "a rule that the kept one calls"
    (tmp_path / "rules.py").write_text(WORLD.replace("FACTOR = 2.0", "FACTOR = 3.0"))
    assert call(tmp_path) == (14.0, 2), "a constant"
    (tmp_path / "constants.py").write_text("OFFSET = 20.0\n")
    assert call(tmp_path) == (24.0, 2), "a constant of another module"
    (tmp_path / "constants.py").write_text("OFFSET = 10.0\n")
    (tmp_path / "rules.py").write_text(WORLD)
    assert call(tmp_path) == (13.0, 0), "as it was at first"


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
def test_damaged_files_are_compiled_over(tmp_path):
    (tmp_path / "rules.py").write_text(WORLD)
    (tmp_path / "constants.py").write_text("OFFSET = 10.0\n")
    call(tmp_path)
    kept = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert call(tmp_path) == (13.0, 2)
    assert call(tmp_path) == (13.0, 0), "and kept again"
    shutil.rmtree(tmp_path / "kept")
    assert call(tmp_path) == (13.0, 2)


def test_the_fingerprint_covers_what_a_rule_is_made_of():
    def make(factor, offset):
        @rule
        def inner(x):
            return x * factor

        @rule
        def outer(x):
            return inner(x) + offset

        return fingerprint(outer)

    assert make(2, 1) == make(2, 1)
    assert len({make(2, 1), make(3, 1), make(2, 2), make(2, 1.0), make(np.float32(2), 1)}) == 5
    assert make(np.arange(3), 1) != make(np.arange(1, 4), 1)
    assert make((1, 2), 1) != make((12,), 1)


def test_factory_rules_are_told_apart():
    def mover(factor):
        @rule
        def move(x):
            return x * factor

        return move

    first, second = mover(0.5), mover(0.25)
    orders = [(first, second, first), (first, second, second), (first, first, second)]
    assert len({fingerprint(*order) for order in orders}) == 3
    assert fingerprint(first, second) == fingerprint(mover(0.5), mover(0.25))


def test_the_fingerprint_covers_options_fields_and_modules(tmp_path, monkeypatch):
    def of(options):
        return fingerprint(numba.njit(**options)(lambda x: 1 / x))

    assert of({"error_model": "numpy"}) != of({"error_model": "python"})
    explicit = [fingerprint(numba.njit(s)(lambda x: x / 3)) for s in ("f8(f8)", "f4(f4)")]
    assert explicit[0] != explicit[1]
    left, right = NamedTuple("T", [("a", int), ("b", int)]), NamedTuple("T", [("b", int), ("a", int)])
    assert fingerprint(left(1, 2)) != fingerprint(right(1, 2))
    outer, inner = types.ModuleType("outer"), types.ModuleType("outer.inner")
    outer.inner, inner.outer, inner.F = inner, outer, 2.0
    reads = rule(types.FunctionType(compile("outer.inner.F", "x", "eval"), {"outer": outer}))
    before = fingerprint(reads)
    inner.F = 3.0
    assert fingerprint(reads) != before


TWINS = """
from interact_env import rule

def factory(value):
    @rule
    def twin(x):
        if x > 1e6:  # too long for LLVM to put it in its caller's place
            for k in range(int(x)):
                x += x * k if x < k else x / (k + value)
        return x + value
    return twin

one, two = factory(1.0), factory(2.0)

@rule
def both(x):
    return one(x) * 10 + two(x)
"""


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
def test_code_kept_by_different_processes_is_linked_to_its_own(tmp_path):
    """Numba numbers functions in each process from 1: two of one name could be taken for each other."""
    (tmp_path / "twins.py").write_text(TWINS)
    for code, result in (("one(1.0)", 2.0), ("two(1.0)", 3.0), ("both(1.0)", 23.0)):
        assert run(tmp_path, f"import twins; print(twins.{code})") == [str(result)]


def test_types_of_arguments_are_told_apart():
    def described(kind, *fields):
        made = NamedTuple("P", [(name, int) for name in fields])
        made.__module__ = kind
        return _describe_type(numba.typeof(made(*range(len(fields)))))

    assert described("one", "a", "b") == described("one", "a", "b")
    assert len({described("one", "a", "b"), described("one", "b", "a"), described("two", "a", "b")}) == 3
    inner = [NamedTuple("W", [(a, int), (b, int)]) for a, b in ("lr", "rl")]
    assert len({_describe_type(numba.typeof((w(1, 2), 3))) for w in inner}) == 2


def test_two_worlds_from_the_template_live_side_by_side(tmp_path):
    """Their engine rules are alike; the machine code is for the one's types or the other's."""
    for name in ("aaa", "bbb"):
        new_world.write(name, tmp_path)
    code = (
        "import sys, interact_env as ie; b = ie.make_batch(sys.argv[1], seed=0)\n"
        "b.reset(); b.step(b.scripted('drift'))"
    )
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    for name in ("aaa", "bbb", "aaa"):
        command = [sys.executable, "-c", code, f"{name}:{name}_v0"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr


def test_rules_that_call_each_other_have_one_too():
    namespace = {"rule": rule}
    exec("@rule\ndef even(n): return odd(n)\n@rule\ndef odd(n): return even(n)", namespace)  # noqa: S102
    assert len(fingerprint(namespace["even"])) == 64


def test_what_could_change_unseen_is_not_kept():
    for value in (object(), types.SimpleNamespace(a=1), {"a": 1}, os.path.join):
        with pytest.raises(Unknown, match="no fingerprint of"):
            fingerprint(value)
