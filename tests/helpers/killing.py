"""Processes that are killed on purpose, forked from one that has everything imported and compiled.

What they run is here: a module of tests cannot be imported in another process.
"""

import contextlib
import multiprocessing
import os
import resource
import signal
import time

import torch

from train import checkpoint, directory, disk
from train.config import TrainConfig

# Three seconds of training on one core, in 24 rollouts of which each is saved.
TINY = {
    "n_worlds": 4, "n_steps": 16, "batch_size": 16, "n_epochs": 2, "d_model": 16, "n_layers": 1, "n_heads": 2,
    "total_steps": 24 * 64, "save_every": "64", "threads": 1, "device": "cpu",
}  # fmt: skip
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["killing", "train.training", "tensorboard.summary.writer.event_file_writer"])


def child(function, *arguments, stderr=None):
    """A process that runs `function`, and exits with what it returns."""
    process = _server.Process(target=_run, args=(function, arguments, stderr), daemon=True)
    process.start()
    return process


def _run(function, arguments, stderr):
    # The server's handlers are not those of a program that was started by hand.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if stderr is None:
        os._exit(function(*arguments) or 0)
    with open(stderr, "w") as file, contextlib.redirect_stderr(file):
        status = function(*arguments)
    os._exit(status or 0)


def ended(process, seconds=120):
    """Its exit status; negative: the signal that ended it."""
    process.join(seconds)
    alive = process.is_alive()
    if alive:
        process.kill()
        process.join()
    assert not alive, f"still runs after {seconds} s"
    return process.exitcode


def kill_after(process, seconds):
    """Kill -9, wherever it is by then."""
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    process.join()


def start(out, changes=()):
    """Train, as `interact-env train --out`."""
    from train import training

    return training.train(TrainConfig(out=out, **{**TINY, **dict(changes)}))


def resume(out):
    """Go on, as `interact-env train --resume`."""
    from train import training

    differs = []
    status = training.resume(directory.started(out), note=differs.append)
    assert not differs
    return status


def command(arguments, file_size=None):
    """The command line, perhaps with a limit on the size of files."""
    from train.cli import main

    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, resource.RLIM_INFINITY))
    return main([str(argument) for argument in arguments])


def weights_of(run):
    """SHA-256 of the weights that a run ended with."""
    path = checkpoint.load(run).path
    return disk.measured(path / "model.safetensors")["sha256"]


def measured(said, arguments):
    """The command, and its memory in MB for a last line."""
    status = command(arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    said.write_text(str(peak))
    return status


def save_for_ever(run, count):
    """One checkpoint after the other, all of whose numbers are k; k is in `count` before it is written."""
    about = checkpoint.setup("colliding_agents_v0", {"n_agents": 3}, {"policy": "sa"})
    for k in range(10**6):
        (aside := count.with_name("aside")).write_text(str(k))
        aside.replace(count)
        big = {f"worlds.{name}": torch.full((250_000,), float(k)) for name in "abcd"}
        checkpoint.save(
            run, about, checkpoint.Snapshot({"weight": torch.tensor([float(k)])}, big, {"env_steps": k})
        )


def train_long(run, out, iterations):
    """Train, and write down memory and open files at every hundredth of the way."""
    from train import training

    small = {"n_worlds": 2, "n_steps": 4, "batch_size": 8, "n_epochs": 1, "d_model": 8, "n_agents": "2"}
    config = TrainConfig(out=run, **{**TINY, **small, "total_steps": 8 * iterations, "save_every": "800"})
    with open(out, "w") as file:

        def report(progress):
            if progress.env_steps % (8 * iterations // 100) == 0:
                with open("/proc/self/statm") as statm:
                    resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
                print(progress.env_steps, resident, len(os.listdir("/proc/self/fd")), file=file, flush=True)

        return training.train(config, report)
