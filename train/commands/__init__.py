"""The commands of `interact-env`, one file each: what it takes, as a dataclass, and `run`."""
