"""The contender that is JAX; torch isn't imported."""

import itertools
import math
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

import lrkit  # its schedules need numpy alone
from job import BATCH, PATIENCE, RATE, SIZES, Clock, Job, read
from lrkit.training.idx import Split

__all__ = ["arrays", "as_torch_begins", "loss_of", "scan"]


def scan(job: Job, clock: Clock) -> float:
    """An epoch is one compiled scan over its batches; the clock takes the second epoch, validation apart."""

    @jax.jit
    def train_epoch(parameters: Any, order: Any, rate: Any, images: Any, labels: Any) -> Any:
        def update(parameters: Any, rows: Any) -> Any:
            loss, gradients = jax.value_and_grad(loss_of)(parameters, images[rows], labels[rows])
            return jax.tree.map(lambda held, slope: held - rate * slope, parameters, gradients), loss

        return jax.lax.scan(update, parameters, order)

    @jax.jit
    def validate(parameters: Any, images: Any, labels: Any) -> Any:
        correct = forward(parameters, images).argmax(1) == labels
        return loss_of(parameters, images, labels), correct.mean()

    random = np.random.default_rng()
    parameters = as_torch_begins(random)
    train, valid = (arrays(split, job) for split in ("train", "test"))
    controller = lrkit.plateau(patience=PATIENCE)
    state, record = controller.init(), []
    for epoch in range(job.epochs):
        if epoch == 1:
            clock.start()
        order = random.permutation(len(train[1])).astype(np.int32).reshape(-1, BATCH)
        parameters, losses = train_epoch(parameters, order, controller.value(state, epoch, RATE), *train)
        train_loss = float(np.asarray(losses).mean())  # waits for the epoch
        if epoch == 1 and clock.stop(len(order)):
            return math.nan
        valid_loss, accuracy = map(float, validate(parameters, *valid))
        state = controller.update(state, valid_loss)
        record.append((train_loss, valid_loss, accuracy))
    return record[-1][2]


def arrays(split: Split, job: Job) -> list[Any]:
    """Images and labels of a split."""
    images, labels = read(split, job)
    return [jnp.asarray(images.astype(np.float32) / 255), jnp.asarray(labels.astype(np.int32))]


def as_torch_begins(random: np.random.Generator) -> list[Any]:
    """Weight and bias of each layer, uniform within one over the root of the number of inputs."""
    return [
        tuple(random.uniform(-(inputs**-0.5), inputs**-0.5, shape).astype(np.float32) for shape in shapes)
        for inputs, outputs in itertools.pairwise(SIZES)
        for shapes in [((inputs, outputs), (outputs,))]
    ]


def forward(parameters: Any, images: Any) -> Any:
    """The perceptron."""
    for weight, bias in parameters[:-1]:
        images = jax.nn.relu(images @ weight + bias)
    weight, bias = parameters[-1]
    return images @ weight + bias


def loss_of(parameters: Any, images: Any, labels: Any) -> Any:
    """The mean cross entropy."""
    return -jnp.take_along_axis(jax.nn.log_softmax(forward(parameters, images)), labels[:, None], axis=1).mean()
