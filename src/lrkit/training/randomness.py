"""Random state: seeded for a run, saved with it, and given back to the caller."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from lrkit.schedules.errors import InputError, InputTypeError, shown

__all__ = ["check_seed", "random_state", "same_random_state", "seed_streams", "seeded", "set_random_state"]


def check_seed(seed: object) -> None:
    """See that it is one that torch takes.

    Raises:
        InputError, InputTypeError: where it isn't.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputTypeError(f"seed must be a whole number, not {shown(seed)}")
    if not 0 <= seed < 2**64:
        raise InputError(f"seed must be at least 0 and less than 2**64, not {seed}")


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch, numpy and Python inside the block; leave the caller's random state as it was, also on an error."""
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            seed_streams(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


def seed_streams(seed: int) -> None:
    """Seed torch, numpy and Python."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of every generator that a run draws from, as plain data and tensors."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "python": [version, list(words), gauss],
        "numpy": [torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(cached)],
    }


def same_random_state(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether nothing was drawn between the two."""
    (one_keys, *one_rest), (other_keys, *other_rest) = one["numpy"], other["numpy"]
    cuda = one["cuda"] is None or torch.equal(one["cuda"], other["cuda"])
    same = torch.equal(one["torch"], other["torch"]) and torch.equal(one_keys, other_keys)
    return cuda and same and one_rest == other_rest and one["python"] == other["python"]


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Go on drawing where `random_state` was taken."""
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
