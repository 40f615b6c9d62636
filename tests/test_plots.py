"""Pictures, by what is on their axes."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import lrkit
from lrkit import EpochRecord, History, InputError, InputTypeError
from lrkit.output.plots import curves_figure, save, thin
from lrkit.output.progress import epoch_line, header


def history(rates, valid=True, accuracy=True):
    rates = np.asarray(rates, dtype=float)
    size = len(rates) // 5
    epochs = tuple(
        EpochRecord(
            i + 1,
            (i + 1) * size,
            1 / (i + 1),
            0.5 / (i + 1) if valid else None,
            {"accuracy": 0.9 + i / 100} if accuracy else {},
            rates[(i + 1) * size - 1],
            1.0,
        )
        for i in range(5)
    )
    made = {"task": "mnist", "schedule": "plateau(patience=5)"}
    return History(epochs, rates[:, None], np.zeros(len(rates), np.float32), made)


def test_curves_show_loss_and_accuracy_above_and_the_rate_below():
    figure = curves_figure(history([0.1] * 200 + [0.01] * 300))
    above, below, beside = figure.axes
    assert [line.get_label() for line in above.get_lines()[:2]] == ["training loss", "validation loss"]
    assert above.get_lines()[1].get_ydata().tolist() == [0.5, 0.25, 0.5 / 3, 0.125, 0.1]
    assert beside.get_lines()[0].get_ydata().tolist() == [90, 91, 92, 93, 94]
    assert (above.get_ylabel(), beside.get_ylabel()) == ("loss", "validation accuracy in %")
    assert (below.get_xlabel(), below.get_ylabel()) == ("epoch", "learning rate")
    assert below.get_yscale() == "log"
    marks = [line for line in below.get_lines() if line.get_linestyle() == ":"]
    assert [mark.get_xdata()[0] for mark in marks] == [2.0]
    assert figure.get_suptitle() == "mnist: plateau(patience=5)"


def test_curves_without_validation_or_metrics():
    figure = curves_figure(history([0.1] * 500, valid=False, accuracy=False))
    above, below = figure.axes
    assert [line.get_label() for line in above.get_lines()] == ["training loss"]
    assert below.get_yscale() == "linear"


# --- schedules ---------------------------------------------------------------------------------------


def test_several_schedules_in_one_picture_have_a_legend_and_colours_of_their_own():
    figure = lrkit.linear(to=0).plot(lrkit.exponential(to=0.01), lrkit.warmup("50%") >> lrkit.constant(), steps=4)
    (axes,) = figure.axes
    lines = axes.get_lines()
    assert [line.get_ydata().round(3).tolist() for line in lines] == [
        [1, 0.75, 0.5, 0.25],
        [1, 0.316, 0.1, 0.032],
        [0.5, 1, 1, 1],
    ]
    assert [line.get_xdata().tolist() for line in lines] == [[0, 1, 2, 3]] * 3
    assert {line.get_drawstyle() for line in lines} == {"steps-post"}
    assert len({line.get_color() for line in lines}) == 3
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["linear(to=0)", "exponential(to=0.01)", "warmup(50%) >> constant()"]
    assert axes.get_title() == ""
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "share of the base")


def test_a_single_schedule_is_the_title_and_needs_no_legend():
    figure = lrkit.linear(to=0).plot(steps=20, epoch_steps=10, base=0.5)
    (axes,) = figure.axes
    assert axes.get_title() == "linear(to=0)"
    assert figure.legends == []
    assert axes.get_lines()[0].get_xdata()[-1] == 1.9
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "learning rate")


def test_28_curves_are_told_apart_by_colour_and_dashes_and_more_are_refused():
    plans = [lrkit.constant(0.01 * (n + 1)) for n in range(29)]
    lines = plans[0].plot(*plans[1:28], steps=3).axes[0].get_lines()
    seen = [(line.get_color(), line._dash_pattern) for line in lines]
    assert len({repr(each) for each in seen}) == 28
    assert len({repr(each) for each in seen[:7]}) == len({line.get_color() for line in lines}) == 7
    with pytest.raises(InputError, match="a picture has at most 28 curves, not 29"):
        plans[0].plot(*plans[1:], steps=3)


def test_where_two_curves_coincide_the_earlier_one_is_the_wider():
    lines = lrkit.linear(to=0).plot(lrkit.linear(to=0, start=1), steps=3).axes[0].get_lines()
    assert lines[0].get_linewidth() > lines[1].get_linewidth() + 0.5


def test_every_base_has_a_curve():
    plan = lrkit.linear(to=lrkit.absolute(0.01))
    lists = plan.plot(steps=2, base=[0.1, 1]).axes[0].get_lines()
    assert [(line.get_label(), line.get_ydata().tolist()) for line in lists] == [
        ("base 0.1", [0.1, 0.055]),
        ("base 1", [1, 0.505]),
    ]
    named = plan.plot(lrkit.constant(), steps=2, base={"body": 0.1, "head": 1})
    assert [line.get_label() for line in named.axes[0].get_lines()] == [
        "linear(to=absolute(0.01)), group body",
        "linear(to=absolute(0.01)), group head",
        "constant(), group body",
        "constant(), group head",
    ]
    assert named.axes[0].get_ylabel() == "learning rate"


def test_each_hyper_parameter_has_a_panel_and_a_run_the_same_colour_in_all():
    one = lrkit.parse("lr: linear(to=0); momentum: linear(start=absolute(0.95), to=absolute(0.85))")
    figure = one.plot(lrkit.constant(), steps=2)
    above, below = figure.axes
    label = "lr: linear(to=0); momentum: linear(to=absolute(0.85), start=absolute(0.95))"
    assert [line.get_label() for line in above.get_lines()] == [label, "constant()"]
    assert [line.get_label() for line in below.get_lines()] == [label]
    assert below.get_lines()[0].get_ydata().round(3).tolist() == [0.95, 0.9]
    assert below.get_lines()[0].get_color() == above.get_lines()[0].get_color()
    assert (below.get_ylabel(), below.get_xlabel(), above.get_xlabel()) == ("momentum (base 1)", "step", "")
    assert len(figure.legends[0].get_texts()) == 2


def test_groups_with_plans_of_their_own_have_curves_of_their_own():
    plans = lrkit.parse("lr: linear(to=0); lr[head]: constant(0.5); lr[1]: constant(); momentum: cosine(to=0.9)")

    def labels(figure):
        return [[line.get_label() for line in axes.get_lines()] for axes in figure.axes]

    assert labels(plans.plot(steps=2)) == [["other groups", "group 1", "group head"], ["all groups"]]
    figure = plans.plot(steps=2, base={"body": 0.1, "head": 0.2, 1: 0.3})
    assert labels(figure)[0] == ["group body", "group 1", "group head"]
    assert figure.axes[0].get_lines()[2].get_ydata().tolist() == [0.1, 0.1]
    with pytest.raises(InputError, match="base must name group 1 too, which has a plan of its own, not group head"):
        plans.plot(steps=2, base={"head": 0.2})


def test_what_does_not_move_has_no_panel_but_a_remark():
    figure = lrkit.parse("lr: linear(to=0); momentum: constant(0.9); weight_decay: linear(to=0.5)").plot(steps=10)
    assert [axes.get_ylabel() for axes in figure.axes] == ["share of the base", "weight_decay (base 1)"]
    assert figure.axes[-1].get_xlabel() == "step\n(momentum stays 0.9)"
    groups = lrkit.parse("lr: constant(); momentum: constant(0.9); momentum[head]: constant(0.5)").plot(steps=10)
    assert [axes.get_ylabel() for axes in groups.axes] == ["share of the base"]
    assert groups.axes[0].get_xlabel() == "step\n(momentum stays 0.9 and 0.5)"


def test_what_moves_in_one_run_is_drawn_of_all_and_so_is_what_alone_a_run_has():
    moving, still = (lrkit.parse(f"lr: linear(to=0); momentum: {text}") for text in ("linear(to=0.5)", "constant(0.9)"))
    assert [len(axes.get_lines()) for axes in moving.plot(still, steps=10).axes] == [2, 2]
    alone = lrkit.parse("momentum: constant(0.9)").plot(lrkit.linear(to=0), steps=10)
    assert [axes.get_ylabel() for axes in alone.axes] == ["share of the base", "momentum (base 1)"]
    assert [text.get_text() for text in alone.legends[0].get_texts()] == ["linear(to=0)", "momentum: constant(0.9)"]


def test_a_picture_is_over_the_longest_schedule_unless_told():

    def steps(figure):
        return len(figure.axes[0].get_lines()[0].get_xdata())

    assert steps(lrkit.warmup(30).plot(lrkit.linear(70, to=0))) == 70
    assert steps(lrkit.warmup(30).plot(lrkit.linear(to=0))) == 30
    assert steps(lrkit.linear(to=0).plot()) == 1000


def test_a_controller_is_drawn_for_a_metric_that_never_improves():
    figure = (lrkit.warmup("1ep") >> lrkit.plateau(patience=1, factor=0.5)).plot(steps=12, epoch_steps=2)
    (axes,) = figure.axes
    assert axes.get_lines()[0].get_ydata().tolist() == [0.5, 1, 1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]
    assert axes.get_xlabel().startswith("epoch\n(what it does depends on a metric: shown for one that never improves,")


def test_a_picture_shows_itself_in_a_notebook_and_is_written_where_told(tmp_path):
    figure = lrkit.linear(to=0).plot(steps=5, out=tmp_path / "x.svg")
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "x.svg").read_text()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda s: s.plot("linear()"), "plot draws schedules and controllers, not 'linear()' (str)"),
        (lambda s: s.plot(None), "plot draws schedules and controllers, not None (NoneType)"),
        (lambda s: lrkit.plot([]), "plot needs at least one schedule"),
        (lambda s: s.plot(steps=0), "steps must be positive, not 0"),
        (lambda s: s.plot(steps=10, base=0), "base must be finite and above 0, not 0.0"),
        (lambda s: s.plot(steps=10, base="big"), "base must be a number, not 'big'"),
        (lambda s: s.plot(steps=10, base=[]), "base must have at least one value"),
        (lambda s: s.plot(steps=10, base={"head": -1}), "base of head must be finite and above 0, not -1.0"),
        (lambda s: s.plot(steps=10, out="x.gif"), "a picture's name must end in .png, .svg, .pdf, not 'x.gif'"),
        (lambda s: s.plot(out=5), "out must be a path such as 'schedules.png', not 5 (int)"),
        (lambda s: s.plot(lrkit.warmup("2ep"), steps=10), "needs epoch_steps"),
        (lambda s: s.plot(s, steps=10_000_001), "at most 20000000 steps (10000000 for 2 curves), not 10000001"),
    ],
)
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises((InputError, InputTypeError), match=re.escape(sentence)):
        call(lrkit.linear(to=0))


def test_a_long_schedule_is_thinned_and_keeps_its_jumps():
    plan = lrkit.milestones(at=[100_000, 200_000], factor=0.5)
    (drawn,) = plan.plot(steps=1_000_000).axes[0].get_lines()
    assert len(drawn.get_xdata()) < 5000
    assert {99_999, 100_000, 199_999, 200_000} <= set(drawn.get_xdata().astype(int))


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.integers(1, 3000), st.floats(0, 1)), min_size=2, max_size=30),
    st.lists(st.integers(0, 9999), max_size=20),
)
def test_every_thousandth_of_a_thinned_curve_has_its_highest_its_lowest_and_its_last_value(stairs, spikes):
    values = np.concatenate([np.full(length, level) for length, level in stairs])
    values[[each for each in spikes if each < len(values)]] = 2.0
    keep = thin(values)
    assert keep[0] == 0
    assert keep[-1] == len(values) - 1
    assert (np.diff(keep) > 0).all()
    piece = -(-len(values) // 1000)
    for begin in range(0, len(values), piece):
        here = values[begin : begin + piece]
        seen = values[keep[(keep >= begin) & (keep < begin + piece)]]
        assert (seen.min(), seen.max(), seen[-1]) == (here.min(), here.max(), here[-1])


def test_cycles_too_short_to_be_seen_one_by_one_still_fill_their_band():
    cycle = np.array([0.1, 0.4, 0.7, 1.0, 0.7, 0.4])
    values = np.tile(cycle, 100_000)
    drawn = values[thin(values)]
    assert (np.bincount((drawn * 10).round().astype(int))[[1, 10]] >= 1000).all()


@pytest.mark.parametrize(
    ("text", "scale"),
    [
        ("linear(to=0.001)", "linear"),
        ("linear(to=0)", "linear"),
        ("cosine(to=0)", "linear"),
        ("polynomial(to=0, exponent=3)", "linear"),
        ("every(1ep, cosine(to=0))", "linear"),
        ("milestones(at=[30, 60])", "log"),
        ("exponential(to=0.001)", "log"),
        ("constant()", "linear"),
        ("constant(0)", "linear"),
    ],
)
def test_the_axis_is_logarithmic_where_the_rate_stays_low_for_long_and_does_not_go_to_zero(text, scale):
    assert lrkit.parse(text).plot(steps=100, epoch_steps=10).axes[0].get_yscale() == scale


def test_several_curves_share_a_logarithmic_axis_unless_one_of_them_goes_to_zero():
    low = lrkit.milestones(at=[30, 60])
    assert lrkit.constant().plot(low, steps=100).axes[0].get_yscale() == "log"
    assert lrkit.linear(to=0).plot(low, steps=100).axes[0].get_yscale() == "linear"


# --- files and lines ---------------------------------------------------------------------------------


def test_save_refuses_other_formats(tmp_path):
    figure = curves_figure(history([0.1] * 500))
    with pytest.raises(InputError, match="must end in"):
        save(figure, tmp_path / "x.gif")
    save(figure, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_lines_are_aligned_and_a_dash_stands_for_what_is_missing():
    record = EpochRecord(12, 10, float("nan"), None, {}, 1.23456e-7, 1234.5)
    line = epoch_line(record, 100)
    assert line.split() == ["12/100", "nan", "-", "1.235e-07", "1234.5"]
    assert len(line) == len(header(record.metrics))
