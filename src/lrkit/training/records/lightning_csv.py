"""The folder of Lightning's CSVLogger: metrics.csv, and hparams.yaml beside it."""

from pathlib import Path
from typing import Any

from lrkit.schedules.errors import InputError
from lrkit.training.records.csv_file import log_of_table, read_rows
from lrkit.training.records.series import Log

__all__ = ["METRICS", "hyper_parameters", "read_lightning_csv"]

METRICS, _HYPER = "metrics.csv", "hparams.yaml"


def read_lightning_csv(path: Path) -> Log:
    """What CSVLogger wrote: its `step` is the number of updates before, also after validation.

    Raises:
        InputError: for a table that can't be read, or has no steps.
    """
    names, rows = read_rows(path)
    if "step" not in names:
        raise InputError(f"{path} is no table of Lightning's CSVLogger: it has no column step")
    made = hyper_parameters(path.parent)
    return log_of_table(path, names, rows, "step", "Lightning CSVLogger", first_step=0, made=made)


def hyper_parameters(folder: Path) -> dict[str, Any]:
    """What Lightning's loggers note beside, as `made` has it; nothing where it can't be read."""
    try:
        import yaml

        found = yaml.safe_load((folder / _HYPER).read_text(encoding="utf-8"))
    except Exception:  # noqa: BLE001 (a side matter: no yaml here, no such file, Python's objects in it)
        return {}
    if not isinstance(found, dict) or not found:
        return {}
    plain = {str(name): value for name, value in found.items() if isinstance(value, str | int | float | bool)}
    seed = plain.get("seed")
    return {"hyper_parameters": plain, **({"seed": seed} if type(seed) is int and seed >= 0 else {})}
