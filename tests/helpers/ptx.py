"""Compile every world's kernels for a GPU that is not there: python ptx.py 90 prints facts of their PTX.

numba asks the GPU at hand what to compile device functions for; here the command line says it.
"""

import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import springs
from numba import cuda, typeof, types
from numba.cuda import dispatcher
from worlds import MAIN

import interact_env
from interact_env.engine import cpu, cuda_kernels
from interact_env.engine import cuda as engine
from interact_env.engine.cuda_chip import Chip
from interact_env.engine.cuda_pairs import Lists

# Cells, and blocks of as many threads as shared memory lets there be.
LARGE = [
    ("colliding_agents_v0", {"n_agents": (2, 1500)}),
    ("n_body_v0", {"n_agents": 1500}),
    ("n_body_v0", {"n_agents": 1500, "dtype": "float64"}),
]
CHIP = Chip(multiprocessors=132, threads=2048, block=256, most=1024, cells_from=512)


def kernels_of(batch):
    """Each kernel of a batch on the CPU by name, with the types of its arguments."""
    a, n = batch._arrays, types.int64
    found = cpu.fields(batch.world, batch.params)._replace(state=batch.state())
    build = engine.plan(batch.world, found, batch.n_worlds, CHIP).build
    params, seed, population, state, clock, out, over = map(typeof, a)
    actions = typeof(batch.blank_actions())
    packed = tuple(getattr(a.state, name) for name, _, _ in build.rows if build.cells)
    lists = typeof(Lists(packed, np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int32)))
    sight = typeof(np.zeros((batch.n_worlds, batch.n_slots, batch.n_slots), np.bool_))
    step, reset, visible = cuda_kernels.kernels(batch.world, build)
    yield "step", step, (params, state, state, lists, actions, clock, out, over)
    yield "reset", reset, (params, seed, population, over, state, clock, out, over)
    yield "visible", visible, (n, n, types.Tuple((params, state, sight)))
    policies = {"random": cpu.random_policy(batch.action_space), **batch.world.POLICIES}
    for name, policy in policies.items():
        kernel = cuda_kernels.scripted(batch.world, policy, build.most)
        yield name, kernel, (n, n, types.Tuple((params, seed, state, clock, actions)))
    low = typeof(cpu.bounds(batch.action_space)[0])
    flat = types.Array(low.dtype, 3, "C")
    arguments = (flat, low, low, typeof(a.state.alive), over, flat, types.int64[::1])
    yield "check", cuda_kernels.checking(build.most), (n, n, types.Tuple(arguments))


def facts(ptx):
    """What the PTX says about the cost of a kernel."""
    return {
        "target": re.search(r"\.target (\w+)", ptx)[1],
        "f64": sorted(set(re.findall(r"^\s*(?:@\S+ )?(\S*\.f64\S*)", ptx, re.MULTILINE)) - {".reg"}),
        "local": [int(n) for n in re.findall(r"\.local .*\[(\d+)\]", ptx)],
        "calls": len(re.findall(r"\bcall\b", ptx)),
        "barriers": ptx.count("bar.sync"),
        "shared": sum(int(n) for n in re.findall(r"\.shared .*\[(\d+)\]", ptx)),
        "shared loads": len(re.findall(r"\bld\.shared", ptx)),
        "div64": len(re.findall(r"\b(?:div|rem)\.[us]64", ptx)),
        "mul64": len(re.findall(r"\bmul\.lo\.s64", ptx)),
        "wide": len(re.findall(r"\bmul\.wide\.u32", ptx)),
        "lines": ptx.count("\n"),
    }


if __name__ == "__main__":
    cc = int(sys.argv[1][:-1]), int(sys.argv[1][-1])
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=cc)
    interact_env.register("springs_v0", springs)
    found = {}
    for world, parameters in MAIN + LARGE:
        made = interact_env.make_batch(world, 2, seed=0, n_threads=1, **parameters)
        for name, kernel, signature in kernels_of(made):
            if name != "step" and (world, parameters) in LARGE:
                continue
            bound = kernel.targetoptions["launch_bounds"]
            ptx, _ = cuda.compile_ptx(kernel.py_func, signature, device=False, cc=cc, launch_bounds=bound)
            found[f"{world} {parameters} {name}"] = facts(ptx)
            if len(sys.argv) > 2:
                with open(f"{sys.argv[2]}/{world}-{name}.ptx", "w", encoding="ascii") as file:
                    file.write(ptx)
    print(json.dumps(found))
