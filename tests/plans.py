"""Hypothesis strategies and examples: plans of every kind, composed to any depth."""

from hypothesis import strategies as st

import lrkit
from lrkit.schedules import plan as plan_module

shares = st.floats(0.0, 2.0).map(lambda x: round(x, 4))
positive = st.floats(1e-3, 2.0).map(lambda x: round(x, 5))
levels = shares | positive.map(lrkit.absolute)
steps = st.integers(1, 60)
maybe_start = st.none() | positive
bends = st.sampled_from(["linear", "cosine"])


def one_cycle(steps, percent, **fields):
    """A cycle that fits its length: it turns between two steps where it hasn't the length for whole ones."""
    turn = steps * percent / 100 / (2 if fields["three_phase"] else 1)
    return lrkit.one_cycle(steps, **({"up": int(turn)} if percent % 2 and turn >= 1 else {"turn": turn}), **fields)


def leaves(lengths, share=levels):
    """Schedules that last one of the lengths."""
    lower = positive.map(lrkit.absolute) | positive if share is levels else positive
    return st.one_of(
        st.builds(lrkit.constant, share, steps=lengths),
        st.builds(
            lrkit.warmup, lengths, start=share, to=share, shape=st.sampled_from(["linear", "cosine", "exponential"])
        ),
        st.builds(lrkit.linear, lengths, to=share, start=maybe_start),
        st.builds(lrkit.cosine, lengths, to=share, start=maybe_start, exponent=positive, k=positive),
        st.builds(lrkit.polynomial, lengths, to=share, start=maybe_start, exponent=positive),
        st.builds(lrkit.inverse_sqrt, lengths, timescale=steps, start=maybe_start),
        st.builds(lrkit.exponential, lengths, to=lower, start=maybe_start),
        st.builds(lrkit.exponential, lengths, factor=st.floats(0.5, 1.0)),
        st.builds(lrkit.staircase, lengths, every=steps, factor=positive),
        st.builds(
            lrkit.triangular,
            steps,
            steps,
            low=share,
            peak=share,
            factor=st.floats(0.1, 1.05),
            per=st.sampled_from(["cycle", "step"]),
            steps=lengths,
        ),
        st.builds(
            lrkit.cosine_restarts,
            steps,
            growth=st.just(1) | st.floats(1.01, 4),
            to=share,
            decay=positive,
            limit=st.none() | st.integers(1, 4),
            steps=lengths,
        ),
        st.builds(
            one_cycle, lengths, st.integers(1, 99), start=share, to=share, shape=bends, three_phase=st.booleans()
        ),
        st.builds(lrkit.milestones, lengths, at=st.lists(steps, min_size=1, max_size=3).map(sorted)),
    )


multipliers = leaves(steps, shares)
everys = st.builds(lrkit.every, steps, leaves(st.integers(1, 9)))
products = st.builds(lambda a, b: a * b, leaves(steps), multipliers)
sequences = st.lists(leaves(steps) | everys | products, min_size=2, max_size=4).map(
    lambda parts: plan_module._chain(parts[0], _rest(parts[1:]))
)


def _rest(parts):
    return parts[0] if len(parts) == 1 else parts[0] >> _rest(parts[1:])


schedules = leaves(steps) | everys | products | sequences
plateaus = st.builds(
    lrkit.plateau,
    steps,
    mode=st.sampled_from(["min", "max"]),
    factor=st.floats(0.1, 0.9),
    patience=st.integers(0, 3),
    threshold=st.floats(0, 0.5),
    threshold_mode=st.sampled_from(["rel", "abs"]),
    cooldown=st.integers(0, 3),
    floor=shares | positive.map(lrkit.absolute),
)
controllers = st.one_of(
    plateaus,
    st.builds(lambda a, b: a >> b, schedules, plateaus),
    st.builds(lambda a, b: a >> b, plateaus, schedules),
    st.builds(lambda a, b: a * b, plateaus, multipliers),
    st.builds(lambda a, b, c: a >> b * c, leaves(steps), plateaus, multipliers),
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
    "triangular(2ep, 10%, low=absolute(0.001), peak=0.5, factor=0.5, per=step, steps=50%) >> one_cycle(up=10%)",
    "cosine_restarts(10%, growth=1.5, to=0.1, decay=0.5, limit=3) >> linear(to=0)",
    "one_cycle(up=2ep, start=0.1, to=absolute(1e-05), shape=linear, three_phase=True)",
    "one_cycle(999, turn=-0.7)",
]
