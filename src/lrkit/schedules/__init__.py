"""What a schedule is: values, lengths, composition, text. numpy only.

The public names of kinds are lower case, the same in Python and in text; inside they are frozen dataclasses.
"""

from lrkit.schedules.bounds import clip
from lrkit.schedules.controllers import Greedy as greedy
from lrkit.schedules.controllers import Plateau as plateau
from lrkit.schedules.decays import Milestones as milestones
from lrkit.schedules.decays import Staircase as staircase
from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.json_form import from_json, to_json
from lrkit.schedules.lengths import Horizon, Length
from lrkit.schedules.periods import Every as every
from lrkit.schedules.plan import Controller, Plan, Schedule, State
from lrkit.schedules.ramps import Constant as constant
from lrkit.schedules.ramps import Exponential as exponential
from lrkit.schedules.ramps import Linear as linear
from lrkit.schedules.repetition import Repeat as repeat
from lrkit.schedules.shares import Absolute, absolute
from lrkit.schedules.shifts import shift
from lrkit.schedules.text import parse
from lrkit.schedules.warmups import Warmup as warmup

__all__ = [
    "Absolute",
    "Controller",
    "Horizon",
    "InputError",
    "InputTypeError",
    "Length",
    "Plan",
    "Schedule",
    "State",
    "absolute",
    "clip",
    "constant",
    "every",
    "exponential",
    "from_json",
    "greedy",
    "linear",
    "milestones",
    "parse",
    "plateau",
    "repeat",
    "shift",
    "staircase",
    "to_json",
    "warmup",
]
