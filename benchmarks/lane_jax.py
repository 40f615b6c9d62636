"""The contenders of lanes.py that are JAX; torch isn't imported."""

import math
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import numpy as jnp

from jax_scan import arrays, as_torch_begins, loss_of
from job import BATCH, Job

if TYPE_CHECKING:
    from lane_contenders import Race
    from pulse import Pulse

__all__ = ["momentum", "plain"]


def momentum(race: "Race", pulse: "Pulse") -> None:
    """SGD with momentum 0.9, a rate for each lane, a shared batch: a vmap over lanes in a compiled scan over steps."""
    _train(race, pulse, 0.9)


def plain(race: "Race", pulse: "Pulse") -> None:
    """The same without momentum."""
    _train(race, pulse, None)


def _train(race: "Race", pulse: "Pulse", coefficient: float | None) -> None:
    def update(parameters: Any, moved: Any, rate: Any, images: Any, labels: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, images, labels)
        if coefficient is not None:
            gradients = moved = jax.tree.map(lambda held, slope: coefficient * held + slope, moved, gradients)
        return jax.tree.map(lambda held, slope: held - rate * slope, parameters, gradients), moved, loss

    of_all = jax.vmap(update, in_axes=(0, 0, 0, None, None))

    @jax.jit
    def train_on(state: Any, order: Any, rates: Any, images: Any, labels: Any) -> Any:
        def step(state: Any, rows: Any) -> Any:
            *state, losses = of_all(*state, rates, images[rows], labels[rows])
            return tuple(state), losses

        return jax.lax.scan(step, state, order)

    random = np.random.default_rng()
    images, labels = arrays("train", Job(data=race.data))
    begins = [as_torch_begins(random) for _ in range(race.lanes)]
    parameters = jax.tree.map(lambda *layers: jnp.stack(layers), *begins)
    state = parameters, None if coefficient is None else jax.tree.map(jnp.zeros_like, parameters)
    rates = jnp.asarray(np.geomspace(1e-3, 1e-1, race.lanes), jnp.float32)
    steps = max(16, 500 // race.lanes)  # of a scan, some hundredths of a second
    while True:
        order = random.permutation(len(labels)).astype(np.int32)
        for rows in order[: len(order) // (steps * BATCH) * steps * BATCH].reshape(-1, steps, BATCH):
            state, losses = train_on(state, rows, rates, images, labels)
            assert not math.isnan(float(np.asarray(losses)[-1, 0]))  # waits for the scan
            pulse.beat(race.lanes * steps)
