"""Plans out of omegaconf's containers, which hydra puts the plans of a mapping or a list into."""

import sys
from typing import Any

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """A container of omegaconf's as a mapping, a list, or the plan that it was made of; anything else as it is.

    omegaconf isn't imported for that: without it there can't be such a container.

    >>> plain({"lr": "linear(to=0)"})
    {'lr': 'linear(to=0)'}
    """
    omegaconf: Any = sys.modules.get("omegaconf")
    if omegaconf is None or not omegaconf.OmegaConf.is_config(value):
        return value
    return omegaconf.OmegaConf.to_object(value)
