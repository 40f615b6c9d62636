"""Hypothesis strategies and examples: plans of every kind, composed to any depth."""

from hypothesis import strategies as st

import lrkit
from lrkit.schedules import plan as plan_module

shares = st.floats(0.0, 2.0).map(lambda x: round(x, 4))
positive = st.floats(1e-3, 2.0).map(lambda x: round(x, 5))
levels = shares | positive.map(lrkit.absolute)
steps = st.integers(1, 60)
maybe_start = st.none() | positive


def leaves(lengths, share=levels):
    """Schedules that last one of the lengths."""
    lower = positive.map(lrkit.absolute) | positive if share is levels else positive
    return st.one_of(
        st.builds(lrkit.constant, share, steps=lengths),
        st.builds(lrkit.warmup, lengths, start=share),
        st.builds(lrkit.linear, lengths, to=share, start=maybe_start),
        st.builds(lrkit.exponential, lengths, to=lower, start=maybe_start),
        st.builds(lrkit.exponential, lengths, factor=st.floats(0.5, 1.0)),
        st.builds(lrkit.staircase, lengths, every=steps, factor=positive),
        st.builds(lrkit.milestones, lengths, at=st.lists(steps, min_size=1, max_size=3).map(sorted)),
    )


multipliers = leaves(steps, shares)
everys = st.builds(lrkit.every, steps, leaves(st.integers(1, 9)))
products = st.builds(lambda a, b: a * b, leaves(steps), multipliers)
sequences = st.lists(leaves(steps) | everys | products, min_size=2, max_size=4).map(
    lambda parts: plan_module._chain(parts[0], _rest(parts[1:]))
)


def _wrap_again(plan):
    return lrkit.clip(lrkit.shift(plan, later=3).repeat(2, stretch=1.5), high=1.5)


def _rest(parts):
    return parts[0] if len(parts) == 1 else parts[0] >> _rest(parts[1:])


simple = leaves(steps) | everys | products | sequences
repeats = st.builds(
    lambda plan, cycles, stretch, decay, total: plan.repeat(
        cycles, stretch=stretch, decay=decay, steps=None if cycles else total
    ),
    simple,
    st.none() | st.integers(1, 4),
    st.sampled_from([1, 1.5, 2]) | st.floats(1, 3).map(lambda x: round(x, 3)),
    st.sampled_from([1, 0.5]),
    st.none() | st.integers(1, 200),
)
clips = st.builds(lambda plan, low, high: lrkit.clip(plan, low=low, high=high), simple, levels, st.none())
shifts = st.builds(lambda plan, later: lrkit.shift(plan, later=later), simple, steps) | st.builds(
    lambda plan: lrkit.shift(plan, earlier=max(1, plan.length // 3)), simple.filter(lambda plan: plan.length > 1)
)
wrapped = (clips | shifts | repeats).filter(lambda plan: plan.length is not None)
schedules = simple | wrapped | st.builds(lambda a, b: a >> b, wrapped, leaves(steps)) | wrapped.map(_wrap_again)
plateaus = st.builds(
    lrkit.plateau,
    steps,
    mode=st.sampled_from(["min", "max"]),
    factor=st.floats(0.1, 0.9),
    patience=st.integers(0, 3),
    threshold=st.floats(0, 0.5),
    threshold_mode=st.sampled_from(["rel", "abs"]),
    cooldown=st.integers(0, 3),
    smoothing=st.sampled_from([0, 0.5]),
    metric=st.none() | st.sampled_from(["accuracy", "train_loss"]),
    floor=shares | positive.map(lrkit.absolute),
)
greedies = st.builds(
    lrkit.greedy,
    steps,
    mode=st.sampled_from(["min", "max"]),
    factor=st.floats(0.1, 0.9),
    patience=st.integers(0, 3),
    threshold=st.floats(0, 0.5),
    threshold_mode=st.sampled_from(["rel", "abs"]),
    cooldown=st.integers(0, 3),
    warmup=st.integers(0, 3),
    low=st.floats(0.01, 1),
    high=st.floats(1, 100),
    window=st.integers(1, 4),
    metric=st.none() | st.sampled_from(["accuracy", "val/top 5", "None"]),
)
controllers = st.one_of(
    plateaus,
    greedies,
    st.builds(lambda a, b: a * b, greedies, plateaus),
    st.builds(lambda a, b: a >> b, greedies, plateaus),
    st.builds(lambda a, b: a >> b, schedules, plateaus),
    st.builds(lambda a, b: a >> b, plateaus, schedules),
    st.builds(lambda a, b: a * b, plateaus, multipliers),
    st.builds(lambda a, b, c: a >> b * c, leaves(steps), plateaus, multipliers),
    st.builds(lambda a, b: lrkit.clip(a >> b, high=0.9), leaves(steps), plateaus),
    st.builds(lambda a, b: lrkit.shift(a >> b, later=7), plateaus, leaves(steps)),
)

RELATIVE = [
    "warmup(5%) >> linear(to=0)",
    "warmup(50ksamples) >> constant() >> linear(20%, to=absolute(1e-06))",
    "every(1ep, staircase(every=10, factor=0.5)) * warmup(2Mtok)",
    "warmup(1.5ep) >> every(1ep, exponential(factor=0.9))",
    "warmup(2%, start=0.01) >> plateau(50%, patience=3, floor=absolute(0.0001)) >> linear(to=0)",
    "milestones(at=[10ep, 30ep]) * constant(0.5)",
    "(warmup(10) >> constant()) * exponential(to=0.1)",
    "constant(0.6, steps=50%) >> exponential(to=0.01, start=0.3)",
    "plateau(mode=max, threshold=0, threshold_mode=abs)",
    "warmup(5%) >> repeat(warmup(10%) >> linear(to=0), cycles=3, stretch=1.5, decay=0.5) >> constant(0.1, steps=10%)",
    "repeat(linear(3ep, to=0))",
    "clip(shift(warmup(5%) >> linear(to=0), later=1ep), low=absolute(1e-06), high=0.9)",
    "shift(clip(plateau(50%), low=0.01) >> linear(to=0), earlier=10%)",
]
