"""Tasks side by side, each in a process of its own: on this machine, or on those of a Ray cluster."""

from __future__ import annotations

import json
import logging
import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

LOGS = "logs"
_PATIENCE = 60  # seconds in which a stopped process may save
_STOPPED = (130, 143)  # statuses of one that was asked to stop, and goes on the next time
_KNOCKING = 10  # seconds in which a cluster must answer; Ray alone would wait for minutes
_TRIES = 3  # of a task whose machine is lost
Event = dict[str, Any]  # what a task tells, see `train.benchmark.work`


class Pool(Protocol):
    """Where tasks are done."""

    workers: int

    def stream(self, folder: Path, name: str) -> Iterator[Event]:
        """What a task tells, while it is done."""

    def stop(self) -> None:
        """End what is being done."""


def events(pool: Pool, folder: Path, names: Sequence[str]) -> Iterator[tuple[str, Event]]:
    """What all tasks tell, as it comes; {"failed": why} of one that did not end as it should."""
    told: queue.SimpleQueue[tuple[str, Event | None]] = queue.SimpleQueue()

    def follow(name: str) -> None:
        try:
            for event in pool.stream(folder, name):
                told.put((name, event))
        except Exception as error:  # one task must not end the others
            told.put((name, {"failed": str(error)}))
        finally:
            told.put((name, None))

    threads = ThreadPoolExecutor(pool.workers)
    try:
        for name in names:
            threads.submit(follow, name)
        left = len(names)
        while left:
            name, event = told.get()
            if event is None:
                left -= 1
            else:
                yield name, event
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        pool.stop()
        threads.shutdown()


class Local:
    """Processes of this machine."""

    def __init__(self, workers: int) -> None:
        """`workers` at a time."""
        self.workers = workers
        self._running: set[subprocess.Popen[str]] = set()

    def stream(self, folder: Path, name: str) -> Iterator[Event]:
        """See `Pool`.

        Raises:
            ChildProcessError: the process ended otherwise than it should; with its last words.
        """
        log = folder / LOGS / f"{name.replace('/', ' ')}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "train.benchmark.work", str(folder), name]
        with log.open("w") as words:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True)
        self._running.add(process)
        try:
            with process:
                assert process.stdout is not None
                for line in process.stdout:
                    yield json.loads(line)
            if process.returncode not in (0, *_STOPPED):
                raise ChildProcessError(_ended(process.returncode, log))
        finally:
            self._running.discard(process)

    def stop(self) -> None:
        """See `Pool`: with a checkpoint of every run."""
        for process in list(self._running):
            process.terminate()
        for process in list(self._running):
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def _ended(status: int, log: Path) -> str:
    how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-1:]
    return f"{how}: {last[0]} (all of it in {log})" if last else how


class OnRay:
    """Tasks of a Ray cluster, whose machines see the folder under the same path."""

    def __init__(self, address: str, workers: int) -> None:
        """Join the cluster at `address`, or with "local" start one of so many `workers` on this machine.

        Raises:
            ValueError: Ray is not installed.
            ConnectionError: there is no cluster at the address.
        """
        try:
            import ray
        except ImportError:
            raise ValueError("--ray needs Ray: pip install 'interact-env[distributed]'") from None
        self._ray = ray
        options: dict[str, Any] = {"address": address}
        if address == "local":
            options |= {"num_cpus": workers, "include_dashboard": False}
        try:
            _knock(address)
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
        except (RuntimeError, OSError, ValueError, OverflowError) as error:
            raise ConnectionError(f"--ray {address}: {error}") from None
        self.workers = int(ray.cluster_resources().get("CPU", 1))
        # Tried again by us, with what is done by then.
        self._remote = ray.remote(num_cpus=1, max_retries=0, num_returns="streaming")(_remotely)
        self._running: set[Any] = set()

    def stream(self, folder: Path, name: str) -> Iterator[Event]:
        """See `Pool`; a task whose worker is lost goes on with another."""
        for left in reversed(range(_TRIES)):
            found: Any = self._remote.remote(str(folder.absolute()), name)
            self._running.add(found)
            try:
                for reference in found:
                    yield self._ray.get(reference)
                return
            except (self._ray.exceptions.WorkerCrashedError, self._ray.exceptions.NodeDiedError):
                if not left:
                    raise
            finally:
                self._running.discard(found)

    def stop(self) -> None:
        """See `Pool`."""
        for found in list(self._running):
            self._ray.cancel(found, force=True)
        self._ray.shutdown()


def _knock(address: str) -> None:
    """See whether anybody is at HOST:PORT."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _KNOCKING).close()


def _remotely(folder: str, name: str) -> Iterator[Event]:
    yield from Local(1).stream(Path(folder), name)
