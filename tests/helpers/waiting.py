"""Counts what would make the host wait for a GPU, on tensors of the CPU."""

from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Of these the host needs numbers, or how many there are.
_WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique2"}


class Waits(TorchDispatchMode):
    """While open, lists what waits by name: operators, and calls that take a tensor to the host."""

    def __init__(self):
        super().__init__()
        self.found = []
        self._calls = [mock.patch.object(torch.Tensor, name, self._told(name)) for name in ("cpu", "tolist")]

    def _told(self, name):
        method = getattr(torch.Tensor, name)

        def told(tensor):
            self.found.append(name)
            return method(tensor)

        return told

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.partition(".")[0]
        chosen = args[1] if name.startswith("index") and len(args) > 1 and isinstance(args[1], list) else ()
        if name in _WAITS or any(index is not None and index.dtype == torch.bool for index in chosen):
            self.found.append(name)
        return function(*args, **kwargs or {})

    def __enter__(self):
        for call in self._calls:
            call.start()
        return super().__enter__()

    def __exit__(self, *error):
        for call in self._calls:
            call.stop()
        return super().__exit__(*error)
