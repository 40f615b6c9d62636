"""Pictures, by what is on their axes."""

import numpy as np
import pytest

from lrkit import EpochRecord, History, InputError
from lrkit.output.plots import curves_figure, save, schedule_figure
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


def test_a_long_schedule_is_thinned_and_keeps_its_jumps():
    values = np.repeat([1.0, 0.5, 0.2], 100_000)
    figure = schedule_figure(np.arange(300_000.0), values, title="t", x_label="step", y_label="share")
    drawn = figure.axes[0].get_lines()[0]
    assert len(drawn.get_xdata()) < 5000
    assert {99_999, 100_000, 199_999, 200_000} <= set(drawn.get_xdata().astype(int))


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (np.linspace(1, 0.001, 100), "linear"),
        (np.linspace(1, 0, 100), "linear"),
        (np.repeat([1, 0.1, 0.01], 30), "log"),
        (np.ones(3), "linear"),
        (np.zeros(3), "linear"),
    ],
)
def test_the_axis_is_logarithmic_where_the_rate_stays_low_for_long(values, scale):
    figure = schedule_figure(np.arange(len(values)) * 1.0, values, title="t", x_label="step", y_label="share")
    assert figure.axes[0].get_yscale() == scale


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
