"""The text form: what it reads, and where it points when it can't."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lrkit
from lrkit import InputError, InputTypeError


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("warmup(500) >> linear(to=0)", lrkit.warmup(500) >> lrkit.linear(to=0)),
        (" linear( 10 , to = .5 ,) ", lrkit.linear(10, to=0.5)),
        ("constant(0.6, steps=50%)", lrkit.constant(0.6, steps="50%")),
        ("linear(10, to=absolute(1e-6))", lrkit.linear(10, to=lrkit.absolute(1e-6))),
        ("plateau(mode=max)", lrkit.plateau(mode="max")),
        ("plateau(mode='max')", lrkit.plateau(mode="max")),
        ("linear(10, start=None)", lrkit.linear(10)),
        ("every(2ep, (warmup(2) >> constant()))", lrkit.every("2ep", lrkit.warmup(2) >> lrkit.constant())),
        ("milestones(at=[10, 2ep])", lrkit.milestones(at=[10, "2ep"])),
        ("StepLR(step_size=10, gamma=0.1)", lrkit.every("1ep", lrkit.staircase(every=10, factor=0.1))),
        ("StepLR(10)", lrkit.every("1ep", lrkit.staircase(every=10))),
        ("MultiStepLR(milestones=[10,30], gamma=0.1)", lrkit.every("1ep", lrkit.milestones(at=[10, 30]))),
        ("ExponentialLR(gamma=0.9)", lrkit.every("1ep", lrkit.exponential(factor=0.9))),
        ("ReduceLROnPlateau('min', patience=5)", lrkit.plateau(patience=5)),
        ("ReduceLROnPlateau(min_lr=1e-4)", lrkit.plateau(floor=lrkit.absolute(1e-4))),
        ("warmup(1ep) >> ReduceLROnPlateau()", lrkit.warmup("1ep") >> lrkit.plateau()),
    ],
)
def test_reads(text, plan):
    assert lrkit.parse(text) == plan


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("StepLR(step_size=0)", "step_size must be at least 1, not 0"),
        ("StepLR(step_size=5ep)", "step_size must be a whole number, not 5ep (Length)"),
        ("StepLR(5, gamma=0)", "gamma must be finite and above 0, not 0.0"),
        ("MultiStepLR([3, 0])", "milestones must be at least 1, not 0"),
        ("MultiStepLR(3)", "milestones must be a list of whole numbers, not 3"),
        ("ConstantLR(factor=2)", "factor must be finite and at least 0 and at most 1, not 2.0"),
        ("ConstantLR(total_iters=50%)", "total_iters must be a whole number, not 50% (Length)"),
        ("LinearLR(total_iters=0)", "total_iters must be at least 1, not 0"),
        ("LinearLR(start_factor=0)", "start_factor must be finite and above 0 and at most 1, not 0.0"),
        ("LinearLR(end_factor=2)", "end_factor must be finite and at least 0 and at most 1, not 2.0"),
        ("ExponentialLR(gamma=a)", "gamma must be a number, not 'a' (str)"),
        ("PolynomialLR(power=0)", "power must be finite and above 0, not 0.0"),
        ("PolynomialLR(total_iters=0)", "total_iters must be at least 1, not 0"),
        ("CosineAnnealingLR(T_max=0)", "T_max must be at least 1, not 0"),
        ("CosineAnnealingLR(5, eta_min=-1)", "eta_min must be finite and at least 0, not -1.0"),
        ("CosineAnnealingWarmRestarts(5, T_mult=0)", "T_mult must be at least 1, not 0"),
        ("CosineAnnealingWarmRestarts(1ep)", "T_0 must be a whole number, not 1ep (Length)"),
        ("CyclicLR(base_lr=-1, max_lr=1)", "base_lr must be finite and at least 0, not -1.0"),
        ("CyclicLR(0, 1, step_size_down=0)", "step_size_down must be at least 1, not 0"),
        ("OneCycleLR(max_lr=0.1, total_steps=5ep)", "total_steps must be a whole number, not 5ep (Length)"),
        ("OneCycleLR(max_lr=0.1, total_steps=[1])", "total_steps must be a whole number, not (1,) (tuple)"),
        ("OneCycleLR(max_lr=0.1, total_steps=1)", "total_steps must be at least 2, not 1"),
        ("OneCycleLR(0.1, epochs=10ep, steps_per_epoch=3)", "epochs must be a whole number, not 10ep (Length)"),
        ("OneCycleLR(0.1, epochs=1, steps_per_epoch=1)", "epochs * steps_per_epoch must be at least 2, not 1"),
        ("OneCycleLR(0.1, epochs=3)", "OneCycleLR needs total_steps, or epochs and steps_per_epoch"),
        ("OneCycleLR(a, 9)", "max_lr must be a number, not 'a' (str)"),
        ("ReduceLROnPlateau(min_lr=-1)", "min_lr must be finite and at least 0, not -1.0"),
    ],
)
def test_torchs_names_complain_about_torchs_arguments(text, reason):
    with pytest.raises(InputError) as error:
        lrkit.parse(text)
    assert str(error.value).startswith(reason)


def test_torch_sorts_the_milestones_and_needs_none():
    assert lrkit.parse("MultiStepLR([30, 10])") == lrkit.parse("MultiStepLR([10, 30])")
    assert lrkit.parse("MultiStepLR([])") == lrkit.constant()


@pytest.mark.parametrize(
    ("text", "reason", "column"),
    [
        ("", "can't be empty", 0),
        ("   ", "can't be empty", 0),
        ("warmpu(3)", "did you mean 'warmup'", 0),
        ("steplr(3)", "did you mean 'StepLR'", 0),
        ("linear(tu=3)", "unknown argument of linear 'tu'", 7),
        ("linear(to=0) linear()", "expected '>>', '.' or the end", 13),
        ("linear(to=0) >>", "found the end", 15),
        ("warmup(3", "to close warmup", 8),
        ("warmup 3", "after warmup", 7),
        ("linear(3.5)", "steps must be a whole number", 0),
        ("linear(5q)", "unexpected '5q'", 7),
        ("linear(to=0, to=1)", "given twice", 13),
        ("linear(to=0, 3)", "stands after named ones", 13),
        ("linear(1, 2, 3)", "too many positional", 0),
        ("warmup()", "missing a required argument: 'steps'", 0),
        ("absolute(3)", "expected a schedule", 0),
        ("linear(to=linear())", "to must be a number", 0),
        ("linear(to=1e999)", "to must be finite", 0),
        ("warmup(10) >> linear(to=-1)", "to must be finite and at least 0", 14),
        ("__import__('os')", "unknown kind '__import__'", 0),
        ("linear(to=().__class__)", "unexpected '.__class__'", 12),
        ("constant(steps=0%)", "must be positive", 15),
        ("(linear()", "to close the bracket", 9),
        ("milestones(at=[3, )", "expected a schedule", 18),
    ],
)
def test_points_at_the_place(text, reason, column):
    with pytest.raises(InputError, match=reason) as caught:
        lrkit.parse(text)
    sentence, shown, mark = str(caught.value).split("\n")
    assert shown == f"  {text}"
    assert mark == "  " + " " * column + "^"
    assert sentence.count("\n") == 0


def test_long_and_deep_text_is_refused_quickly():
    with pytest.raises(InputError, match="10000 characters"):
        lrkit.parse("linear()" * 10_000)
    with pytest.raises(InputError, match="nested 50 deep"):
        lrkit.parse("(" * 5000 + "linear()" + ")" * 4000)
    with pytest.raises(InputError, match="nested 50 deep"):
        lrkit.parse("every(2, " * 900 + "linear()")


def test_in_a_long_text_the_place_is_cut_out():
    with pytest.raises(InputError) as caught:
        lrkit.parse(" >> ".join(["constant(steps=3)"] * 100 + ["linear(to=q)"]))
    lines = str(caught.value).split("\n")
    assert max(map(len, lines)) < 130
    assert lines[1][lines[2].index("^") :].startswith("linear(")


@pytest.mark.parametrize("text", [None, 3, b"linear()"])
def test_only_text_is_parsed(text):
    with pytest.raises(InputTypeError, match="must be a str"):
        lrkit.parse(text)


@given(st.text(alphabet="linearwmuptosgc()[]=*>,.0123456789%ek'\" _-+:;", max_size=60))
def test_any_text_gives_a_plan_or_a_marked_error(text):
    try:
        found = lrkit.parse(text)
    except InputError as error:
        found = str(error)
    assert isinstance(found, lrkit.Plan | lrkit.Plans) or found.endswith("^")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "can't be read"),
        ("[]", "must look like"),
        ('{"lrkit": 2, "plan": {}}', "format 2, this lrkit reads formats up to 1"),
        ('{"lrkit": 1, "plan": {"kind": "warmpu"}}', "did you mean 'warmup'"),
        ('{"lrkit": 1, "plan": {"kind": "linear", "tu": 1}}', "unknown argument of linear 'tu'"),
        ('{"lrkit": 1, "plan": {"kind": "sequence", "parts": [1, 2]}}', "every part of a sequence"),
        ('{"lrkit": 1, "plan": {"kind": "product", "parts": []}}', "at least two parts"),
        ('{"lrkit": 1, "plan": {"kind": "warmup"}}', "warmup: .*steps"),
        ('{"lrkit": 1, "plan": 3}', "must be a schedule"),
    ],
)
def test_bad_json_is_refused(text, reason):
    with pytest.raises(InputError, match=reason):
        lrkit.from_json(text)
