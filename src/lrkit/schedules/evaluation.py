"""Evaluating a curve at any steps and bases, in blocks that stay in the processor's cache."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrkit.schedules.errors import InputError, InputTypeError, shown

__all__ = ["Array", "evaluate"]

Array: TypeAlias = NDArray[np.float64]

_BLOCK = 1 << 14  # steps


def evaluate(curve: Callable[[Array, Array], Array], t: ArrayLike, base: ArrayLike, what: object) -> Array:
    """The curve at every step and base, of their broadcast shape.

    The curve gets arrays of one dimension without strides: numpy's loops round differently for other layouts, and
    s(t) for one t must be what s(array of t) has there, to the bit. So it doesn't matter either where a block begins.

    Args:
        curve: of steps from 0 on and bases, elementwise.
        t: steps; before 0 the curve has its value at 0.
        base: bases, broadcast against `t`.
        what: whose curve it is, for the errors.

    Raises:
        InputError, InputTypeError: for what isn't a number, and where the curve isn't finite.
    """
    steps, bases = _numbers(t, "t"), _numbers(base, "base")
    shape = np.broadcast_shapes(steps.shape, bases.shape)
    flat, peaks = _flat(steps, shape), _flat(bases, shape)
    values = np.empty(len(flat) if len(flat) > 1 else len(peaks))
    for begin in range(0, len(values), _BLOCK):
        block = slice(begin, min(begin + _BLOCK, len(values)))
        at, peak = _part(flat, block), _part(peaks, block)
        with np.errstate(over="ignore", invalid="ignore"):  # told below, with the step
            values[block] = curve(np.maximum(at, 0.0), peak)
        wrong = np.flatnonzero(~np.isfinite(values[block]))
        if wrong.size:
            raise InputError(f"{what} has no finite value at step {at[wrong[0]]:.15g}")
    return values.reshape(shape)


def _flat(numbers: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """One number for all, or all in one row."""
    return numbers.reshape(1) if numbers.size == 1 and 0 not in shape else np.broadcast_to(numbers, shape).ravel()


def _part(flat: NDArray[Any], block: slice) -> Array:
    if len(flat) == 1:
        return np.full(block.stop - block.start, flat[0], dtype=np.float64)
    return np.ascontiguousarray(flat[block], dtype=np.float64)


def _numbers(value: ArrayLike, name: str) -> NDArray[Any]:
    """Whole numbers as they are, since each block makes floats of its own; else floats."""
    try:
        numbers = np.asarray(value)
        if numbers.dtype.kind == "c":
            raise TypeError  # numpy would drop the imaginary part
        if numbers.dtype.kind not in "iu":
            numbers = numbers.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputTypeError(f"{name} must be a number or an array of numbers, not {shown(value)}") from None
    if numbers.dtype.kind == "f" and np.isnan(numbers).any():
        raise InputError(f"{name} must be a number or an array of numbers, not nan")
    return numbers
