"""The record of what a transformers Trainer trains."""

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.trainers.extras import extra
from lrkit.trainers.transformers_metrics import evaluated
from lrkit.training.clock import clock_of
from lrkit.training.history import History
from lrkit.training.record_folder import require_room, save_history
from lrkit.training.recorder import Recorder

with extra("transformers"):
    import transformers
    from transformers import Trainer, TrainerCallback
    from transformers.trainer_callback import ExportableState
    from transformers.trainer_pt_utils import find_batch_size

__all__ = ["Recording", "record"]

_NAME = "LrkitRecord"  # of the callback, under which a checkpoint has the record


def record(
    trainer: Trainer, folder: str | Path | None = None, *, task: str | None = None, overwrite: bool = False
) -> "Recording":
    """Record what a Trainer does from now on: `record(trainer, "runs/mine")` before `trainer.train()`.

    The record is a `History`: rate and loss of every update, and an epoch of the record for each evaluation, with its
    loss and metrics, or for each epoch where nothing is evaluated. Checkpoints have it, so it goes on with them.

    Args:
        trainer: whose `training_step` is listened to; a callback isn't told the loss of an update.
        folder: where `RunFolder.load` and `lrkit report` find it, kept up to date by the first process.
        task: a name for what is trained, by default that of the model's class.
        overwrite: replace a record that is in the folder. One that a checkpoint goes on with is always replaced.

    >>> import tempfile, torch
    >>> from transformers import Trainer, TrainingArguments
    >>> class Line(torch.nn.Linear):
    ...     def forward(self, x, labels):
    ...         return {"loss": torch.nn.functional.mse_loss(super().forward(x), labels)}
    >>> data = [{"x": torch.tensor([k / 8]), "labels": torch.tensor([k / 4])} for k in range(16)]
    >>> arguments = TrainingArguments(tempfile.mkdtemp(), use_cpu=True, report_to=[], disable_tqdm=True)
    >>> trainer = Trainer(Line(1, 1), arguments, train_dataset=data)
    >>> recording = record(trainer)
    >>> result = trainer.train()
    {'train_runtime': ...}
    >>> [each.step for each in recording.history().epochs]
    [2, 4, 6]
    """
    given: object = trainer
    if not isinstance(given, Trainer):
        raise InputTypeError(f"trainer must be a transformers Trainer, not {type(given).__name__}")
    if any(type(each).__name__ == _NAME for each in trainer.callback_handler.callbacks):
        raise InputError("this trainer is recorded already; call record once")
    recording = Recording(trainer, folder, task, overwrite)
    original, batch_size = trainer.training_step, cast("Callable[[Any], int | None]", find_batch_size)

    def training_step(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        samples = batch_size(inputs)  # before the labels are taken out
        loss = original(model, inputs, *args, **kwargs)
        recording.hear(loss, samples)
        return loss

    trainer.training_step = training_step  # type: ignore[method-assign]  # of this Trainer alone
    trainer.add_callback(_callback_of(recording))
    return recording


class Recording:
    """The record of a Trainer, made by `record`."""

    def __init__(self, trainer: Trainer, folder: str | Path | None, task: str | None, overwrite: bool) -> None:
        self._folder = Path(folder) if folder is not None and trainer.is_world_process_zero() else None
        self._task = type(trainer.model).__name__ if task is None else task
        self._overwrite = overwrite
        self._mine = False  # whether the folder may be written over
        self._recorder: Recorder | None = None
        self._hook: Any = None
        self._loss: Any = 0.0  # of the update under way: the Trainer scales its batches' losses so that they add up
        self._samples = 0
        self._listens = False  # to evaluations: not to those before the first update or after the last
        self._metrics: dict[str, float] = {}

    def history(self) -> History:
        """The history of the epochs that have ended.

        Raises:
            InputError: when training hasn't begun.
        """
        return self._begun.history()

    @property
    def _begun(self) -> Recorder:
        if self._recorder is None:
            raise InputError("nothing was recorded yet: call trainer.train() first")
        return self._recorder

    def begin(self, args: Any, state: Any, optimizer: Optimizer) -> None:
        """Listen to the optimizer, and go on with what a checkpoint has."""
        self._leave()  # what a training that broke off has left
        version = f"transformers {transformers.__version__}"
        self._recorder = Recorder(optimizer, task=self._task, seed=args.seed, trainer=version)
        # A hook and no callback: an update that a gradient scaler skips doesn't reach the optimizer.
        self._hook = clock_of(self._recorder.optimizer).subscribe(before=self._tell)
        self._listens, self._metrics = False, {}
        self._mine = self._overwrite
        if state.global_step:
            # The Trainer would miss its entry where the checkpoint has none.
            kept = state.stateful_callbacks.setdefault(_NAME, {"attributes": {}})["attributes"].get("kept")
            if kept:
                self._recorder.load_state_dict(torch.load(io.BytesIO(base64.b64decode(kept)), weights_only=True))
                self._mine = True
        if self._folder is not None:
            require_room(self._folder, overwrite=self._mine)

    def kept(self) -> str:
        """All of it, for a checkpoint: as text, since the Trainer writes JSON."""
        if self._recorder is None:
            return ""
        self.close()
        file = io.BytesIO()
        torch.save(self._recorder.state_dict(), file)
        return base64.b64encode(file.getvalue()).decode()

    def hear(self, loss: Any, samples: int | None) -> None:
        """A batch's part of the loss of its update."""
        self._loss = self._loss + loss if self._samples else loss
        self._samples += samples or 1

    def start_update(self) -> None:
        """Forget the losses of the update before, and close its epoch if there was an evaluation after it."""
        self.close()
        self._listens = True
        self._loss, self._samples = 0.0, 0

    def _tell(self) -> None:
        if self._samples:
            self._begun.loss(self._loss, self._samples)

    def measure(self, metrics: Mapping[str, Any] | None) -> None:
        """Note an evaluation, or that of one of several sets."""
        if self._listens:
            self._metrics |= evaluated(metrics)

    def close(self, *, always: bool = False) -> None:
        """End an epoch of the record where the Trainer has evaluated, or always.

        Its loss is that of the Trainer's own evaluation, and never one of another prefix.
        """
        metrics, own = self._metrics, [name for name in self._metrics if name.startswith("eval_")]
        if self._begun.updates_in_epoch and not (always or own):
            return  # another evaluation than the Trainer's waits for it
        self._metrics = {}
        if self._begun.updates_in_epoch:
            of_a_set = next((metrics[name] for name in own if name.endswith("loss")), None)
            loss = metrics.pop("eval_loss", of_a_set)
            self._begun.epoch(loss, {name.removeprefix("eval_"): value for name, value in metrics.items()})
            self._write()

    def end(self) -> None:
        """Close the last epoch, and leave the optimizer."""
        self.close(always=True)
        self._listens = False
        self._leave()

    def _leave(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
        if self._hook is not None:
            self._hook()
            self._hook = None

    def _write(self) -> None:
        if self._folder is not None:
            save_history(self.history(), self._folder, overwrite=self._mine)
            self._mine = True


def _callback_of(recording: Recording) -> TrainerCallback:
    """What tells a recording; it holds nothing itself, since the Trainer makes callbacks anew when it restores them."""

    class LrkitRecord(TrainerCallback, ExportableState):
        def state(self) -> dict[str, Any]:
            return {"args": {}, "attributes": {"kept": recording.kept()}}

        def on_train_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
            recording.begin(args, state, optimizer)

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            recording.start_update()

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
            recording.measure(metrics)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if args.eval_strategy == "no":
                recording.close(always=True)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            recording.end()

    return LrkitRecord()
