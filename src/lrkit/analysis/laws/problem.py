"""One fit of one law: what is minimised, and how."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.optimize import least_squares
from torch import Tensor

from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.laws.law import Law, losses_of
from lrkit.analysis.laws.rate_path import RatePath, trace
from lrkit.analysis.laws.scales import Scales, scales_of
from lrkit.analysis.laws.thinning import huber_scale, thin

__all__ = ["Optimum", "Problem", "problem_of"]

_FINE = 60  # blocks: a quarter of what a prediction takes, which changes a loss by less than a fit errs
_LEAST_LOSS = 1e-9  # of the lowest: a law on its way may go below 0, which has no logarithm
_LAST = 3  # points that are a curve's end
_FAR = 60.0  # a logarithm of a parameter beyond this is none


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where a fit ended.

    Attributes:
        place: shape (parameters,): values, or their logarithms.
        cost: the sum that was minimised.
        jacobian: shape (points, parameters): of the logarithms of the losses, by the place; points that lie far off
            count less, as Huber's loss lets them.
    """

    place: NDArray[np.float64]
    cost: float
    jacobian: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Problem:
    """A law and points to fit it to.

    Attributes:
        law: that is fitted.
        scales: of the curves that the fit was made for: they fix the law's units.
        paths: of the curves.
        logs: float64, shape (points,), of all curves: logarithms of losses.
        runs: int, shape (points,): which curve each is of.
        scale: of a residual, beyond which it counts linearly (Huber).
        weights: float64, shape (points,): how much each counts.
        middles: float64, shape (parameters,): where each is expected, as its place; what isn't expected anywhere has 0.
        spreads: float64, shape (parameters,): the standard deviations; inf for what isn't expected anywhere.
    """

    law: Law
    scales: Scales
    paths: tuple[RatePath, ...]
    logs: NDArray[np.float64]
    runs: NDArray[np.int64]
    scale: float
    weights: NDArray[np.float64]
    middles: NDArray[np.float64]
    spreads: NDArray[np.float64]

    @cached_property
    def _signed(self) -> Tensor:
        return torch.tensor([name in self.law.signed for name in self.law.parameters])

    @cached_property
    def _units(self) -> dict[str, Tensor]:
        return {name: torch.tensor(getattr(self.scales, name), dtype=torch.float64) for name in self.law.units}

    def values(self, place: NDArray[np.float64]) -> dict[str, float]:
        """A law's values at a place, its units among them."""
        return {name: float(value) for name, value in self._named(torch.as_tensor(place)[None]).items()}

    def place(self, values: Mapping[str, float]) -> NDArray[np.float64]:
        """Where values are."""
        found = [values[name] if name in self.law.signed else np.log(values[name]) for name in self.law.parameters]
        return np.array(found, dtype=np.float64)

    def _named(self, place: Tensor) -> dict[str, Tensor]:
        """Values at places, shape (places, parameters), in columns."""
        numbers = torch.where(self._signed, place, place.clamp(-_FAR, _FAR).exp())
        return {**dict(zip(self.law.parameters, numbers.split(1, dim=1), strict=True)), **self._units}

    def _logs(self, places: Iterable[Tensor]) -> Tensor:
        """Logarithms of what the law says at all points, shape (points,), with a place, or places, for each path."""
        found = [losses_of(self.law, self._named(place), path) for place, path in zip(places, self.paths, strict=True)]
        return torch.cat(found).clamp(min=_LEAST_LOSS * self.scales.lowest).log()

    def log_losses(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logarithms of what the law says at all points, shape (points,)."""
        with torch.no_grad():
            logs: NDArray[np.float64] = self._logs([torch.as_tensor(place)[None]] * len(self.paths)).numpy()
        return logs

    def slopes(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of `log_losses` by the place, shape (points, parameters), exact.

        Each point has a copy of the place, of which its loss alone depends: so the gradient of the sum by all copies is
        the Jacobian, in one backward pass.
        """
        copies = torch.as_tensor(place).repeat(len(self.logs), 1).requires_grad_()
        logs = self._logs(copies.split([len(path.points) for path in self.paths]))
        [slopes] = torch.autograd.grad(logs.sum(), copies)
        found: NDArray[np.float64] = slopes.numpy()
        return found

    def cost(self, place: NDArray[np.float64]) -> float:
        """The sum that is minimised: Σ huber(√weight·(log L − log loss)), and what expectations add.

        An expectation is a residual too, at its spread √(Σ weight/5) times the scale, with Huber's loss: beyond a small
        part of the spread it pulls as strongly wherever the parameter is, as a Laplace distribution does.
        """
        with np.errstate(over="ignore"):  # far off, it is far off
            size = np.abs(self._residuals(place)) / self.scale
            return float(self.scale**2 * np.where(size <= 1, size**2 / 2, size - 0.5).sum())

    def solve(self, start: NDArray[np.float64], *, most: int = 60, tolerance: float = 1e-6) -> Optimum:
        """Minimise the cost from a place, by scipy's trust-region least squares, reweighted.

        scipy's own Huber loss corrects for its curvature, which leaves next to nothing of what lies beyond the scale:
        steps become far too long there, and are all refused.

        Args:
            start: where to begin.
            most: how many evaluations.
            tolerance: a relative change of the cost that is none.
        """
        found = least_squares(
            self._residuals,
            start,
            jac=self._residual_slopes,
            loss=_huber,
            f_scale=self.scale,
            x_scale="jac",
            max_nfev=most,
            ftol=tolerance,
        )
        return Optimum(found.x, float(found.cost), found.jac[: len(self.logs)])

    @cached_property
    def _roots(self) -> NDArray[np.float64]:
        roots: NDArray[np.float64] = np.sqrt(self.weights)
        return roots

    @cached_property
    def _pulls(self) -> NDArray[np.float64]:
        pulls: NDArray[np.float64] = self.scale * np.sqrt(self.weights.sum() / 5) / self.spreads
        return pulls

    def _residuals(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        errors = self.log_losses(place) - self.logs
        return np.concatenate([self._roots * errors, self._pulls * (place - self.middles)])

    def _residual_slopes(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([self._roots[:, None] * self.slopes(place), np.diag(self._pulls)])

    def errors(self, place: NDArray[np.float64]) -> list[float]:
        """The mean relative error of the law at a place, for each curve: of the medians of three neighbours.

        So a single loss that is far off, as one that has just spiked, says nothing of the law.
        """
        apart = np.abs(np.expm1(self.log_losses(place) - self.logs))
        runs = [apart[self.runs == run] for run in range(len(self.paths))]
        return [float(median_filter(each, 3, mode="nearest").mean()) for each in runs]

    def errors_ahead(self, optimum: Optimum) -> NDArray[np.float64]:
        """How far off the ends of the curves are, relatively, fitted to their first thirds alone, shape (curves,).

        Empty where these have fewer points than the law has parameters.
        """
        thirds = [path.points[0] + (path.points[-1] - path.points[0]) / 3 for path in self.paths]
        points = np.concatenate([path.points for path in self.paths])
        early = points <= np.array(thirds)[self.runs]
        if early.sum() < len(self.law.parameters):
            return np.empty(0)
        place = replace(self, weights=early.astype(np.float64)).solve(optimum.place).place
        errors = np.expm1(self.log_losses(place) - self.logs)
        return np.array([np.median(errors[self.runs == run][-_LAST:]) for run in range(len(self.paths))])

    def without(self, run: int) -> "Problem":
        """The same without one of the curves, whose units stay."""
        kept = self.runs != run
        return replace(
            self,
            paths=tuple(path for number, path in enumerate(self.paths) if number != run),
            logs=self.logs[kept],
            runs=np.where(self.runs > run, self.runs - 1, self.runs)[kept],
            weights=self.weights[kept],
        )


def _huber(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Huber's loss of squares, in units of the scale, its slope, and no curvature, shape (3, residuals)."""
    sizes = np.sqrt(np.maximum(squares, 1.0))
    values = np.where(squares <= 1, squares, 2 * sizes - 1)
    return np.stack([values, 1 / sizes, np.zeros_like(squares)])


def problem_of(law: Law, curves: Sequence[LossCurve]) -> Problem:
    """To fit a law to curves."""
    scales, thinned = scales_of(curves), [thin(each, len(curves)) for each in curves]
    paths = tuple(
        trace(each.learning_rates, steps, fine=_FINE) for each, (steps, _) in zip(curves, thinned, strict=True)
    )
    expected = law.expected(scales)
    middles, spreads = [], []
    for name in law.parameters:
        value, spread = expected.get(name, (1.0, np.inf))
        middles.append(value if name in law.signed else float(np.log(value)))
        spreads.append(spread)
    counts = [len(steps) for steps, _ in thinned]
    return Problem(
        law=law,
        scales=scales,
        paths=paths,
        logs=np.log(np.concatenate([losses for _, losses in thinned])),
        runs=np.repeat(np.arange(len(counts)), counts),
        scale=huber_scale([losses for _, losses in thinned]),
        weights=np.ones(sum(counts)),
        middles=np.array(middles),
        spreads=np.array(spreads),
    )
