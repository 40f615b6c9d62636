"""A comparison that takes seconds and has of everything: for the check of the report."""

import torch
from torch import nn

import lrkit
from lrkit.analysis.comparison import Comparison

__all__ = ["COMMAND", "HOSTILE", "small_comparison"]

HOSTILE = "</script><script>alert('no')</script> & \"so\" on"  # a name that would do harm where it isn't escaped
COMMAND = f"lrkit compare small.py --schedule 'linear(to=0)' --schedule \"{HOSTILE}\""


def small_comparison() -> Comparison:
    """Five schedules of a small net, of which one is named to do harm; the highest rate diverges."""
    torch.set_num_threads(1)
    schedules = {
        "linear(to=0)": "linear(to=0)",
        "StepLR": "StepLR(step_size=2, gamma=0.1)",
        "plateau": "plateau(patience=1)",
        "warmup and cosine, with a name that is longer than a phone is wide": "warmup(10%) >> cosine(to=0.1)",
        HOSTILE: "constant()",
    }
    return lrkit.compare(_task(), schedules, rates=[0.003, 0.03, 0.1, 0.3, 100.0], seeds=3, backend="eager")


def _task() -> lrkit.Task:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, 8, generator=generator)
    y = x[:, :1].sin() + 0.5 * x[:, 1:2] * x[:, 2:3] + 0.1 * torch.randn(600, 1, generator=generator)
    return lrkit.Task(
        model=lambda: nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)),
        train=(x[:480], y[:480]),
        valid=(x[480:], y[480:]),
        loss=nn.functional.mse_loss,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        batch_size=20,
        epochs=6,
        name="small",
    )
