"""torch's schedulers under torch's names, with torch's behaviour: a one-line switch.

    from lrkit.torch_names import CosineAnnealingLR  # instead of torch.optim.lr_scheduler

Calls of `step()` are the clock, `step(epoch)` works, changes that others make to a group compound, torch's own
checkpoints load and their hyper-parameters are adopted, and ours load into torch. The curve itself comes from a
schedule, which `schedule` shows. What differs is what torch gets wrong; docs/torch_names.md has the list.

Some of what torch does looks wrong and is kept, since torch's own tests ask for it: the base of a scheduler is the
`initial_lr` that an earlier one left in the group, even where the rate was changed since, and a cosine rises again
past `T_max`. MultiStepLR takes its milestones in any order, which harms nobody.
"""

from torch.optim.lr_scheduler import EPOCH_DEPRECATION_WARNING, LRScheduler, _LRScheduler

from lrkit.training.drop_in.compositions import ChainedScheduler, SequentialLR
from lrkit.training.drop_in.cycles import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from lrkit.training.drop_in.decays import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from lrkit.training.drop_in.functions import LambdaLR, MultiplicativeLR
from lrkit.training.drop_in.plateau import ReduceLROnPlateau

__all__ = [
    "EPOCH_DEPRECATION_WARNING",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "_LRScheduler",
]
