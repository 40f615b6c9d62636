"""What a task measures of a model: the loss of a batch, and means over whole data."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.training.blame import blame
from lrkit.training.data import Batches
from lrkit.training.preparation import take
from lrkit.training.ranks import Ranks
from lrkit.training.record import Means
from lrkit.training.task import Task, sample_count

__all__ = ["Measurement"]


class Measurement:
    """Measures a model in the precision of the task; each of several processes its share."""

    def __init__(self, task: Task, model: nn.Module, place: torch.device, ranks: Ranks) -> None:
        self._task, self._model, self._place, self._ranks = task, model, place, ranks

    def training_loss(self, batch: Any, *, least: Literal[0, 1] = 1) -> tuple[Tensor, int]:
        """The mean loss of a batch, which must have a gradient, and the number of samples.

        Args:
            batch: of the training data.
            least: how many samples it must have; the loss of none is a mean over nothing, whatever it is.

        Raises:
            InputError: when it has none.
        """
        loss, samples, _ = self._of_batch(batch, with_metrics=False, least=least)
        if samples and not loss.requires_grad:
            error = InputError("the loss doesn't depend on any trainable parameter, so there is nothing to train")
            blame(error, "the loss")
            raise error
        return loss, samples

    @torch.no_grad()
    def means(self, data: Batches, name: str) -> Means:
        """The means of loss and metrics over all samples, those of all processes together.

        Raises:
            InputError: when there are none.
        """
        self._ranks.copy_first(self._model.buffers())
        self._model.eval()
        values: dict[str, list[Tensor]] = {}
        counts: list[int] = []
        batches = data.epoch(0)
        while taken := take(batches, 1, name):
            loss, n, metrics = self._of_batch(taken[0], with_metrics=True, least=0)
            if not n:
                continue  # means over nothing, which may be NaN
            counts.append(n)
            for measure, value in {**metrics, "": loss}.items():
                values.setdefault(measure, []).append(torch.as_tensor(value, dtype=torch.float64) * n)
        sums = {measure: float(torch.stack(each).sum()) for measure, each in values.items()}
        shares = self._ranks.gather((sums, sum(counts)))
        samples = sum(count for _, count in shares)
        if not samples:
            error = InputError(f"{name} has no samples")
            blame(error, f"the data of {name}")
            raise error
        measures = dict.fromkeys(measure for part, _ in shares for measure in part)
        means = {measure: sum(part.get(measure, 0.0) for part, _ in shares) / samples for measure in measures}
        return means.pop(""), means

    def _of_batch(
        self, batch: Any, *, with_metrics: bool, least: Literal[0, 1]
    ) -> tuple[Tensor, int, Mapping[str, Tensor]]:
        try:
            if self._task.precision == "float32":
                loss, n, metrics = self._task.measure(self._model, batch, with_metrics=with_metrics)
            else:
                with torch.autocast(self._place.type, dtype=getattr(torch, self._task.precision)):
                    loss, n, metrics = self._task.measure(self._model, batch, with_metrics=with_metrics)
            return loss, sample_count(n, least=least), metrics
        except (InputError, InputTypeError) as error:
            blame(error, "a batch", batch=batch)
            raise
