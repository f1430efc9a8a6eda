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
from interact_env.engine import cpu
from interact_env.engine import cuda as engine


def kernels_of(batch):
    """Each kernel of a batch on the CPU by name, with the types of its arguments."""
    a, lanes = batch._arrays, types.int64
    params, seed, population, state, clock, out, over = map(typeof, a)
    actions = batch.blank_actions()
    sight = np.zeros((batch.n_worlds, batch.n_slots, batch.n_slots), np.bool_)
    step, reset, visible = engine.kernels(batch.world, 256)
    yield "step", step, (params, state, state, typeof(actions), clock, out, over, lanes)
    yield "reset", reset, (params, seed, population, over, state, clock, out, over, lanes)
    yield "visible", visible, (params, state, typeof(sight))
    policies = {"random": cpu.random_policy(batch.action_space), **batch.world.POLICIES}
    for name, policy in policies.items():
        yield name, engine.scripted(batch.world, policy), (params, seed, state, clock, typeof(actions))
    low = typeof(cpu.bounds(batch.action_space)[0])
    flat = types.Array(low.dtype, 3, "C")
    yield "check", engine._check_kernel(), (flat, low, low, state[0], over, flat, types.int64[::1])


def facts(ptx):
    """What the PTX says about the cost of a kernel."""
    return {
        "target": re.search(r"\.target (\w+)", ptx)[1],
        "f64": sorted(set(re.findall(r"^\s*(?:@\S+ )?(\S*\.f64\S*)", ptx, re.MULTILINE)) - {".reg"}),
        "local": [int(n) for n in re.findall(r"\.local .*\[(\d+)\]", ptx)],
        "calls": len(re.findall(r"\bcall\b", ptx)),
        "barriers": ptx.count("bar.sync"),
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
    for world, parameters in MAIN:
        made = interact_env.make_batch(world, 2, seed=0, n_threads=1, **parameters)
        for name, kernel, signature in kernels_of(made):
            bound = kernel.targetoptions["launch_bounds"]
            ptx, _ = cuda.compile_ptx(kernel.py_func, signature, device=False, cc=cc, launch_bounds=bound)
            found[f"{world} {parameters} {name}"] = facts(ptx)
            if len(sys.argv) > 2:
                with open(f"{sys.argv[2]}/{world}-{name}.ptx", "w", encoding="ascii") as file:
                    file.write(ptx)
    print(json.dumps(found))
