"""Line-ups: schedules that are often compared, with arguments that follow from how long the training is."""

from collections.abc import Callable, Mapping

from lrkit.analysis.entrant import Entrant
from lrkit.schedules import warmup

__all__ = ["LINEUPS"]


def _tutorial(epochs: int) -> dict[str, str]:
    """What torch's tutorials use, with the arguments that they have for some 25 epochs, scaled.

    A step every 40 % of the epochs (every 10 of 25), milestones at half and three quarters, an exponential decay to a
    tenth in all, and a plateau that waits for a tenth of the epochs (2 of 25, none below 10).
    """
    step = max(1, round(0.4 * epochs))
    half = max(1, epochs // 2)
    quarter = max(half + 1, 3 * epochs // 4)
    return {
        "constant": "constant()",
        "StepLR": f"StepLR(step_size={step}, gamma=0.1)",
        "MultiStepLR": f"MultiStepLR(milestones=[{half}, {quarter}], gamma=0.1)",
        "ExponentialLR": f"ExponentialLR(gamma={0.1 ** (1 / epochs):.3g})",
        "plateau": _plateau(epochs),
    }


def _modern(epochs: int) -> dict[str, str | Entrant]:
    """What is used now: all but the plateau and schedule-free averaging know where the training ends."""
    return {
        "warmup_cosine": "warmup_cosine(5%)",
        "one_cycle": "one_cycle()",
        "linear_to_zero": "linear_to_zero(10%)",
        "wsd": "wsd(5%, 20%)",
        "plateau": _plateau(epochs),
        "schedule_free": Entrant(warmup("5%"), "schedule_free"),
    }


def _plateau(epochs: int) -> str:
    """ReduceLROnPlateau of torch: its patience of 10 would end after most trainings do."""
    return f"plateau(patience={epochs // 10})"


LINEUPS: Mapping[str, Callable[[int], Mapping[str, str | Entrant]]] = {"tutorial": _tutorial, "modern": _modern}
