"""The configuration that tools leave beside a record: hyper-parameters, and a rate where none was logged."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lrkit.training.records.words import as_rate, words_of

__all__ = ["HYPER", "configured_rate", "hyper_parameters", "rate_said"]

HYPER = "hparams.yaml"  # of Lightning's loggers
_FILES = (
    HYPER, "hparams.yml", "hparams.json", "hyperparameters.json", "hyperparameters.yaml", "config.yaml", "config.yml",
    "config.json", "args.yaml", "args.json", "params.json", "params.yaml", "training_args.json", "opt.yaml",
)  # fmt: skip
_CHANGES = ("sched", "warmup", "decay", "gamma", "milestone", "anneal", "cosine", "lrf", "final", "end", "cycle",
            "plateau", "restart", "step_size", "policy", "min_lr", "max_lr")  # fmt: skip
_CHANGES_NOT = ("weight_decay", "wd", "momentum", "ema")
_NOTHING = (None, False, 0, 0.0, "", "none", "None", "constant", "null", "no")
_MOST_BYTES = 1_000_000


def hyper_parameters(folder: Path) -> dict[str, Any]:
    """What Lightning's loggers note beside, as `made` has it; nothing where it can't be read."""
    plain = {name: value for name, value in _flat(_read(folder / HYPER)) if "/" not in name}
    seed = plain.get("seed")
    if not plain:
        return {}
    return {"hyper_parameters": plain, **({"seed": seed} if type(seed) is int and seed >= 0 else {})}


def configured_rate(folder: Path) -> tuple[tuple[float, str] | None, str | None]:
    """What the first configuration in a folder that has a rate says of it, as `rate_said`."""
    for name in _FILES:
        found = rate_said(dict(_flat(_read(folder / name))), f"{name} beside")
        if found != (None, None):
            return found
    return None, None


def rate_said(values: Mapping[str, Any], where: str) -> tuple[tuple[float, str] | None, str | None]:
    """A constant rate that hyper-parameters say, and how; else what they say of rates, in words; else neither.

    A rate that a scheduler changed isn't one that every update had.

    >>> rate_said({"lr": 0.1, "scheduler": "cosine"}, "config.json")
    (None, 'config.json has lr 0.1, scheduler cosine')
    """
    rates = {key: float(value) for key, value in values.items() if _is_rate(key, value)}
    if not rates:
        return None, None
    changing = [key for key, value in values.items() if _changes(key) and value not in _NOTHING]
    if len(set(rates.values())) == 1 and not changing:
        name, rate = next(iter(rates.items()))
        return (rate, f"no rate was logged, and {where} has {name} {rate:g}: held throughout"), None
    return None, f"{where} has {', '.join(f'{key} {values[key]}' for key in [*rates, *changing][:8])}"


def _is_rate(key: str, value: Any) -> bool:
    last = key.rpartition("/")[2]
    rate = as_rate(last)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        return False
    return rate is not None and set(words_of(rate.base)) <= {"lr", "learning", "rate", "base", "initial", "init"}


def _changes(key: str) -> bool:
    last = key.lower().rpartition("/")[2]
    return any(part in last for part in _CHANGES) and not any(part in last for part in _CHANGES_NOT)


def _read(path: Path) -> Any:
    """What a file of YAML or JSON has; nothing where it can't be read, since it is a side matter."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return json.loads(text)
        import yaml

        return yaml.safe_load(text)
    except Exception:  # noqa: BLE001 (no yaml here, no such file, Python's objects in it)
        return None


def _flat(found: Any, before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Plain values by their names, those in mappings inside after these."""
    if not isinstance(found, Mapping) or depth > 4:
        return
    for name, value in found.items():
        called = f"{before}{name}"
        wrapped = isinstance(value, Mapping) and set(value) <= {"value", "desc"}  # as wandb's config.yaml has it
        inside = value.get("value") if wrapped else value
        if isinstance(inside, Mapping):
            yield from _flat(inside, f"{called}/", depth + 1)
        elif isinstance(inside, str | int | float | bool):
            yield called, _number(inside)


def _number(value: str | float | bool) -> str | float | bool:
    """YAML's `1e-3` is text there, and a number here."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return float(value)
    return value
