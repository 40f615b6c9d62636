"""What a schedule is: values, lengths, composition, text. numpy only.

The public names of kinds are lower case, the same in Python and in text; inside they are frozen dataclasses.
"""

from lrkit.schedules.bounds import clip
from lrkit.schedules.callables import FromCallable as from_callable
from lrkit.schedules.combined import product, sequence
from lrkit.schedules.controllers import Greedy as greedy
from lrkit.schedules.controllers import Plateau as plateau
from lrkit.schedules.cooldowns import Cooldown as cooldown
from lrkit.schedules.cooldowns import Hyperbolic as hyperbolic
from lrkit.schedules.cooldowns import Rex as rex
from lrkit.schedules.cooldowns import Tanh as tanh
from lrkit.schedules.cycles import OneCycle as one_cycle
from lrkit.schedules.cycles import Triangular as triangular
from lrkit.schedules.decays import InverseSqrt as inverse_sqrt
from lrkit.schedules.decays import InverseTime as inverse_time
from lrkit.schedules.decays import Milestones as milestones
from lrkit.schedules.decays import Power as power
from lrkit.schedules.decays import Staircase as staircase
from lrkit.schedules.errors import InputError, InputTypeError, ScheduleWarning
from lrkit.schedules.json_form import from_json, to_json
from lrkit.schedules.lengths import Horizon, Length
from lrkit.schedules.loops import Controller, Schedule
from lrkit.schedules.noise import Noise as noise
from lrkit.schedules.periods import Every as every
from lrkit.schedules.plan import Plan, State
from lrkit.schedules.plans import Plans, Target
from lrkit.schedules.points import Piecewise as piecewise
from lrkit.schedules.points import Table as table
from lrkit.schedules.ramps import Constant as constant
from lrkit.schedules.ramps import Cosine as cosine
from lrkit.schedules.ramps import Exponential as exponential
from lrkit.schedules.ramps import Linear as linear
from lrkit.schedules.ramps import Polynomial as polynomial
from lrkit.schedules.recipes import (
    budgeted,
    infinite,
    linear_to_zero,
    noam,
    one_cycle_momentum,
    triangular_momentum,
    warmup_cosine,
    wsd,
)
from lrkit.schedules.repetition import Repeat as repeat
from lrkit.schedules.restarts import CosineRestarts as cosine_restarts
from lrkit.schedules.shares import Absolute, absolute
from lrkit.schedules.shifts import shift
from lrkit.schedules.text import parse
from lrkit.schedules.warmups import RAdamWarmup as radam_warmup
from lrkit.schedules.warmups import UntunedWarmup as untuned_warmup
from lrkit.schedules.warmups import Warmup as warmup

__all__ = [
    "Absolute",
    "Controller",
    "Horizon",
    "InputError",
    "InputTypeError",
    "Length",
    "Plan",
    "Plans",
    "Schedule",
    "ScheduleWarning",
    "State",
    "Target",
    "absolute",
    "budgeted",
    "clip",
    "constant",
    "cooldown",
    "cosine",
    "cosine_restarts",
    "every",
    "exponential",
    "from_callable",
    "from_json",
    "greedy",
    "hyperbolic",
    "infinite",
    "inverse_sqrt",
    "inverse_time",
    "linear",
    "linear_to_zero",
    "milestones",
    "noam",
    "noise",
    "one_cycle",
    "one_cycle_momentum",
    "parse",
    "piecewise",
    "plateau",
    "polynomial",
    "power",
    "product",
    "radam_warmup",
    "repeat",
    "rex",
    "sequence",
    "shift",
    "staircase",
    "table",
    "tanh",
    "to_json",
    "triangular",
    "triangular_momentum",
    "untuned_warmup",
    "warmup",
    "warmup_cosine",
    "wsd",
]
