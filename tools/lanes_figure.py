"""Draw docs/images/lanes.png: how lanes are trained, and how near they stay to `run`, measured.

python tools/lanes_figure.py
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from numpy.typing import NDArray
from torch import Tensor, nn

import lrkit
from lrkit.output.plots import COLOURS, save
from lrkit.training.lanes.alone import train_alone
from lrkit.training.lanes.together import train_together
from lrkit.training.lanes.work import Work
from lrkit.training.networks import perceptron
from lrkit.training.tasks import get

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "lanes.png"
STEPS = 300
LANES = [lrkit.Lane("warmup(5%) >> linear(to=0)", lr=lr) for lr in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)]
UNSTABLE = len(LANES) - 1
BOUND = 1e-9
BLUE, ORANGE, GREEN = COLOURS[:3]
GREY = "#666666"


class Weights:
    """The place for a checkpoint after every update; it keeps the weights."""

    snapshot = None

    def __init__(self) -> None:
        self.kept: list[Tensor] = []

    def due(self, steps: int) -> bool:
        """After each."""
        return True

    def save(self, snapshot: Mapping[str, Any]) -> None:
        """Keep what is in it: of a run its model, of lanes their stack."""
        if "parameters" in snapshot:
            self.kept.append(torch.cat([each[0].flatten(1) for each in snapshot["parameters"].values()], dim=1))
        else:
            self.kept.append(torch.cat([each.flatten() for each in snapshot["model"].values()]))


class Nobody:
    """Is told what happens, and does nothing."""

    def step(self, lane_steps: int) -> None:
        """Nothing."""

    def epoch(self, histories: Mapping[int, lrkit.History]) -> None:
        """Nothing."""

    ended = epoch


def task(dtype: torch.dtype, *, moved: float = 0.0) -> lrkit.Task:
    """A perceptron on 4800 of MNIST's digits; its first weight may be moved a little."""
    digits, labels = (each[:4800] for each in get("mnist").train)

    def model() -> nn.Module:
        made = perceptron([784, 32, 10]).to(dtype)
        with torch.no_grad():
            next(made.parameters())[0, 400] += moved
        return made

    return lrkit.Task(
        model=model,
        train=(digits.to(dtype), labels),
        loss=nn.functional.cross_entropy,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
        batch_size=32,
        steps=STEPS,
    )


def work_of(made: lrkit.Task) -> Work:
    """All lanes, with nothing that ends them early."""
    return Work(made, LANES, torch.device("cpu"), {}, lambda histories: (), lambda: False)


def alone(made: lrkit.Task, number: int) -> list[Tensor]:
    """A lane's weights after every update of `run`."""
    weights = Weights()
    train_alone(work_of(made), number, Nobody(), weights)
    return weights.kept


def apart(run: Sequence[Tensor], others: Sequence[Tensor]) -> NDArray[np.float64]:
    """The largest difference of a weight after each update, as a share of the largest weight."""
    return np.array([float((a - b).abs().max() / a.abs().max()) for a, b in zip(run, others, strict=True)])


def measured(dtype: torch.dtype) -> NDArray[np.float64]:
    """How far lanes are from `run`, shape (lanes, updates)."""
    weights, made = Weights(), task(dtype)
    train_together(work_of(made), range(len(LANES)), Nobody(), weights, compiled=False)
    return np.array([apart(alone(made, n), [each[n] for each in weights.kept]) for n in range(len(LANES))])


# --- how it works ------------------------------------------------------------------------------------


def box(axes: Axes, place: tuple[float, float, float, float], title: str, text: str, colour: str = GREY) -> None:
    """A box with a title above and text in it."""
    x, y, width, height = place
    patch = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=1", ec=colour, fc="white", lw=1.6)
    axes.add_patch(patch)
    axes.text(x + width / 2, y + height - 1.8, title, ha="center", va="top", fontsize=10, fontweight="bold")
    axes.text(x + width / 2, y + (height - 4) / 2, text, ha="center", va="center", fontsize=9, linespacing=1.4)


def arrow(axes: Axes, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """From one place to another."""
    axes.annotate(
        "", end, begin, arrowprops={"arrowstyle": "-|>", "color": GREY, "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
    )


def squares(axes: Axes, left: float, bottom: float, side: float) -> None:
    """Two seeds with four lanes each, a square for each lane's tensor; lanes of a seed have one colour."""
    for row, colour in enumerate((BLUE, ORANGE)):
        height = bottom - row * (side + 0.8)
        for column in range(4):
            corner = (left + column * (side + 0.8), height)
            axes.add_patch(Rectangle(corner, side, side, fc=colour, alpha=0.35 + 0.15 * column, ec="white"))
        axes.text(left - 0.8, height + side / 2, f"seed {row}", ha="right", va="center", fontsize=9)


def draw_way(axes: Axes) -> None:
    """The task and the lanes above, then what an update does, then what comes out."""
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 56)
    axes.set_axis_off()
    box(axes, (1, 34, 23, 20), "a task", "model, data, loss,\noptimizer, length:\nthe same for all")
    box(axes, (28, 34, 30, 20), "lanes", 'Lane("linear(to=0)", lr=0.1)\nLane("cosine()", lr=0.3)\n…')
    box(axes, (63, 34, 36, 20), "one stack", "\n\n\neach tensor: seeds × lanes × shape")
    squares(axes, 74, 45, 4.2)
    gradients = (
        "torch.func.vmap over lanes:\none product of matrices for all;\n"
        "a batch for each seed, shared\nby its lanes, and the same masks"
    )
    box(axes, (63, 2, 36, 22), "one forward and backward", gradients, BLUE)
    rule = "on whole stacks, with\na rate, a momentum, …\nof its own for each lane"
    box(axes, (29, 2, 28, 22), "one optimizer rule", rule, GREEN)
    box(axes, (1, 2, 22, 22), "histories", "one for each lane,\nas run would\nhave given it")
    arrow(axes, (24, 44), (28, 44))
    arrow(axes, (58, 44), (63, 44))
    arrow(axes, (81, 34), (81, 24))
    arrow(axes, (63, 13), (57, 13))
    arrow(axes, (29, 13), (23, 13))
    arrow(axes, (45, 24), (66, 34))
    axes.text(51, 30, "next update", ha="right", va="center", fontsize=9, color=GREY)


# --- how near it stays -------------------------------------------------------------------------------


def draw_distance(axes: Axes) -> None:
    """The largest difference of a weight, over updates; the lane that is unstable by itself."""
    updates = np.arange(1, STEPS + 1)
    for dtype, colour in ((torch.float32, ORANGE), (torch.float64, BLUE)):
        found, name = measured(dtype), str(dtype).removeprefix("torch.")
        steady = np.delete(found, UNSTABLE, axis=0).max(axis=0)
        axes.plot(updates, shown(steady), color=colour, label=f"{name}: the largest of 7 lanes, lr 0.001 to 0.1")
        axes.plot(updates, shown(found[UNSTABLE]), color=colour, ls="--", label=f"{name}: the lane with lr=0.5")
    moved = apart(alone(task(torch.float64), UNSTABLE), alone(task(torch.float64, moved=1e-15), UNSTABLE))
    axes.plot(updates, shown(moved), color=GREY, ls=":", label="run itself, lr=0.5, with one weight moved by 1e-15")
    axes.axhline(BOUND, color="black", lw=1)
    axes.text(STEPS - 3, BOUND / 2, "1e-9, the tests' bound for float64", ha="right", va="top", fontsize=9)
    axes.set_yscale("log")
    axes.set_ylim(1e-18, 1e2)
    axes.set_xlim(0, STEPS)
    axes.set_xlabel("updates")
    axes.set_ylabel("largest difference of a weight,\nas a share of the largest weight")
    axes.set_title("Lanes of a small network on MNIST, held against run", fontsize=10, fontweight="bold")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False, fontsize=9)


def shown(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without zeros, which have no place on the axis."""
    return np.where(values > 0, values, np.nan)


if __name__ == "__main__":
    figure = Figure(figsize=(8, 8.6), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=[1, 1.15])
    draw_way(above)
    draw_distance(below)
    save(figure, PICTURE)
    print(f"wrote {PICTURE.name}")
