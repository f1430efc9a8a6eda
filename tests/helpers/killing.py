"""Processes that are killed on purpose, forked from one that has everything imported and compiled."""

import contextlib
import multiprocessing
import os
import resource
import signal
import time

from train import checkpoint, directory
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

    config, differs = directory.started(out)
    assert not differs
    return training.resume(config)


def command(arguments, file_size=None):
    """The command line, perhaps with a limit on the size of files."""
    from train.cli import main

    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, resource.RLIM_INFINITY))
    return main([str(argument) for argument in arguments])


def weights_of(run):
    """SHA-256 of the weights that a run ended with."""
    path = checkpoint.load(run).path
    return checkpoint.measured(path / "model.safetensors")["sha256"]
