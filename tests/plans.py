"""Hypothesis strategies and examples: plans of every kind, composed to any depth."""

import functools
import operator

from hypothesis import strategies as st

import lrkit

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


def cycles(lengths, share):
    turns = st.integers(1, 99)
    whole = st.none() | st.integers(1, 4)
    per = st.sampled_from(["cycle", "step"])
    return [
        st.builds(lrkit.triangular, steps, steps, low=share, peak=share, per=per, steps=lengths),
        st.builds(lrkit.triangular, steps, low=share, factor=st.floats(0.1, 1.05), per=per, steps=lengths),
        st.builds(lrkit.cosine_restarts, steps, to=share, decay=positive, limit=whole, steps=lengths),
        st.builds(lrkit.cosine_restarts, steps, growth=st.floats(1.01, 4), to=share, limit=whole, steps=lengths),
        st.builds(lrkit.cosine_restarts, steps, growth=st.floats(1.01, 4), limit=st.integers(1, 4)),
        st.builds(one_cycle, lengths, turns, start=share, to=share, shape=bends, three_phase=st.booleans()),
    ]


def piecewise(length, points, between):
    places, values = zip(*sorted(points, key=lambda point: point[0]), strict=True)
    return lrkit.piecewise(length, at=places, values=values, between=between)


def points(lengths, share):
    line = st.lists(st.tuples(st.integers(0, 60), share), min_size=1, max_size=5)
    drawn = st.sampled_from(["uniform", "normal"])
    return [
        st.builds(piecewise, lengths, line, st.sampled_from(["hold", "linear", "cosine"])),
        st.builds(lrkit.noise, lengths, scale=positive, distribution=drawn, every=steps, seed=st.integers(0, 2**50)),
    ]


def leaves(lengths, share=levels):
    """Schedules that last one of the lengths."""
    lower = positive.map(lrkit.absolute) | positive if share is levels else positive
    return st.one_of(
        st.builds(lrkit.constant, share, steps=lengths),
        *ramps(lengths, share),
        *decays(lengths),
        *warmups(lengths, share),
        st.builds(lrkit.exponential, lengths, to=lower, start=maybe_start),
        st.builds(lrkit.exponential, lengths, factor=st.floats(0.5, 1.0)),
        *cycles(lengths, share),
        *points(lengths, share),
    )


def ramps(lengths, share):
    ends = {"to": share, "start": st.none() | share}
    yield st.builds(lrkit.linear, lengths, **ends)
    yield st.builds(lrkit.cosine, lengths, exponent=positive, k=positive, **ends)
    yield st.builds(lrkit.polynomial, lengths, exponent=positive, **ends)
    yield st.builds(lrkit.cooldown, lengths, shape=choice("linear", "one_minus_sqrt", "sqrt", "square"), **ends)
    yield st.builds(lrkit.cooldown, lengths, shape=choice("lowered_linear"), factor=st.floats(0.1, 1.0), **ends)
    yield st.builds(lrkit.rex, lengths, **ends)
    yield st.builds(lrkit.tanh, lengths, lower=st.floats(-30, 1), upper=st.floats(2, 30), **ends)
    yield st.builds(lrkit.hyperbolic, lengths, bound=st.integers(60, 100), **ends)


def decays(lengths):
    yield st.builds(lrkit.staircase, lengths, every=steps, factor=positive, start=maybe_start)
    yield st.builds(lrkit.milestones, lengths, at=st.lists(steps, min_size=1, max_size=3).map(sorted))
    yield st.builds(lrkit.inverse_sqrt, lengths, timescale=steps, start=maybe_start)
    yield st.builds(lrkit.inverse_time, lengths, timescale=steps, start=maybe_start)
    yield st.builds(lrkit.power, lengths, exponent=positive, timescale=steps, start=maybe_start)
    yield st.builds(lrkit.power, lengths, exponent=positive, scale=positive, start=maybe_start)


def warmups(lengths, share):
    yield st.builds(lrkit.warmup, lengths, start=share, to=share, shape=choice("linear", "cosine", "exponential"))
    yield st.builds(lrkit.untuned_warmup, lengths, beta2=st.floats(0, 0.999), shape=choice("linear", "exponential"))
    yield st.builds(lrkit.radam_warmup, lengths, beta2=st.floats(0.61, 0.9999))


def choice(*words):
    return st.sampled_from(words)


multipliers = leaves(steps, shares)
everys = st.builds(lrkit.every, steps, leaves(st.integers(1, 9)))
products = st.builds(lambda a, b: a * b, leaves(steps), multipliers)
sequences = st.lists(leaves(steps) | everys | products, min_size=2, max_size=4).map(
    lambda parts: functools.reduce(operator.rshift, parts)
)


def _wrap_again(plan):
    return lrkit.clip(lrkit.shift(plan, later=3).repeat(2, stretch=1.5), high=1.5)


def named(name, *strategies):
    """One of the strategies; hypothesis, which writes strategies out, calls it by its name and not by all its parts."""

    def draw_one(draw):
        return draw(draw(st.sampled_from(strategies)))

    draw_one.__name__ = draw_one.__qualname__ = name
    return st.composite(draw_one)()


simple = named("simple", leaves(steps), everys, products, sequences)
repeats = st.builds(
    lambda plan, cycles, stretch, decay, total: plan.repeat(
        cycles, stretch=stretch, decay=decay, steps=None if cycles else total
    ),
    simple,
    st.none() | st.integers(1, 4),
    st.sampled_from([1, 1.5, 2]) | st.floats(1, 3).map(lambda x: round(x, 3)),
    st.sampled_from([1, 0.5]),
    st.integers(1, 200),
)
clips = st.builds(lambda plan, low, high: lrkit.clip(plan, low=low, high=high), simple, levels, st.none())
shifts = st.builds(lambda plan, later: lrkit.shift(plan, later=later), simple, steps) | st.builds(
    lambda plan: lrkit.shift(plan, earlier=max(1, plan.length // 3)), simple.filter(lambda plan: plan.length > 1)
)
wrapped = named("wrapped", clips, shifts, repeats)
schedules = named(
    "schedules", simple, wrapped, st.builds(lambda a, b: a >> b, wrapped, simple), wrapped.map(_wrap_again)
)
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
controllers = named(
    "controllers",
    plateaus,
    greedies,
    st.builds(lambda a, b: a * b, plateaus, greedies),
    st.builds(lambda a, b: a >> b, greedies, plateaus),
    st.builds(lambda a, b: a >> b, schedules, plateaus),
    st.builds(lambda a, b: a >> b, plateaus, schedules),
    st.builds(lambda a, b: a * b, plateaus, multipliers),
    st.builds(lambda a, b, c: a >> b * c, leaves(steps), plateaus, multipliers),
    st.builds(lambda a, b: lrkit.clip(a >> b, high=0.9), leaves(steps), plateaus),
    st.builds(lambda a, b: lrkit.shift(a >> b, later=7), plateaus, leaves(steps)),
)

targets = st.builds(
    lrkit.Target,
    st.sampled_from(["lr", "momentum", "beta2", "weight_decay", "eps"]),
    st.none() | st.integers(0, 12) | st.sampled_from(["head", "my head", "0", "it's", "ß"]),
)
several = st.dictionaries(targets, schedules | controllers, min_size=1, max_size=5).map(lrkit.Plans.of)

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
    "triangular(2ep, 10%, low=absolute(0.001), peak=0.5, factor=0.5, per=step, steps=50%) >> one_cycle(up=10%)",
    "cosine_restarts(10%, growth=1.5, to=0.1, decay=0.5, limit=3) >> linear(to=0)",
    "one_cycle(up=2ep, start=0.1, to=absolute(1e-05), shape=linear, three_phase=True)",
    "one_cycle(999, turn=-0.7)",
    "piecewise(50%, at=[0, 1ep, 20%], values=[0.1, 1, absolute(0.001)]) >> noise(scale=0.1, every=1ep)",
]

# Every kind of schedule, 40 steps long, with arguments that differ from their defaults.
EXAMPLES = [
    "constant(0.6, steps=40)",
    "linear(40, to=0.1)",
    "cosine(40, to=0.1)",
    "cosine(40, to=0.1, exponent=2)",
    "cosine(40, to=0.1, exponent=1.7, k=0.6)",
    "polynomial(40, to=0.1)",
    "polynomial(40, to=0.1, exponent=0.9)",
    "exponential(40, to=0.1)",
    "exponential(40, factor=0.97)",
    "cooldown(40, to=0.1)",
    "cooldown(40, to=0.1, shape=linear)",
    "cooldown(40, to=0.1, shape=sqrt)",
    "cooldown(40, to=0.1, shape=square)",
    "cooldown(40, to=0.1, shape=lowered_linear, factor=0.8)",
    "rex(40, to=0.1)",
    "tanh(40, to=0.1, lower=-7, upper=4)",
    "hyperbolic(40, to=0.1, bound=100)",
    "staircase(40, every=7, factor=0.3)",
    "milestones(40, at=[7, 19])",
    "inverse_sqrt(40, timescale=7)",
    "inverse_time(40, timescale=7)",
    "power(40, exponent=0.51, timescale=7)",
    "power(40, exponent=0.51, scale=2.3)",
    "warmup(40, start=0.01)",
    "warmup(40, shape=cosine)",
    "warmup(40, shape=exponential)",
    "untuned_warmup(40, beta2=0.9)",
    "untuned_warmup(40, beta2=0.9, shape=exponential)",
    "radam_warmup(40, beta2=0.9)",
    "triangular(7, 3, low=0.2, factor=0.7, steps=40)",
    "triangular(7, low=0.2, peak=0.9, factor=0.97, per=step, steps=40)",
    "cosine_restarts(7, to=0.1, decay=0.7, limit=5, steps=40)",
    "cosine_restarts(7, growth=1.3, to=0.1, steps=40)",
    "one_cycle(40, up=13, start=0.1, to=0.01)",
    "one_cycle(40, start=0.1, to=0.01, shape=linear, three_phase=True, turn=13.7)",
    "piecewise(40, at=[7, 19], values=[1, 0.3], between=hold)",
    "piecewise(40, at=[0, 19, 19, 37], values=[0.1, 1, 0.5, 0.2])",
    "piecewise(40, at=[7, 19], values=[1, 0.3], between=cosine)",
    "noise(40, scale=0.1, every=3, seed=7)",
    "noise(40, scale=0.7, distribution=normal)",
    "every(7, linear(6, to=0), steps=40)",
    "repeat(linear(7, to=0), stretch=1.5, decay=0.8, steps=40)",
    "repeat(warmup(2) >> linear(8, to=0), cycles=4)",
    "clip(linear(40, to=0), low=0.1, high=0.9)",
    "shift(linear(33, to=0.1), later=7)",
    "shift(linear(47, to=0.1), earlier=7)",
]
