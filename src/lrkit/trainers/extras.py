"""What is installed apart from lrkit itself."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["extra"]


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Say which extra to install where an import within fails.

    >>> with extra("ignite"):
    ...     import not_installed_here
    Traceback (most recent call last):
        ...
    ImportError: this needs a package that isn't installed: pip install 'lrkit[ignite]' (No module named ...)
    """
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"this needs a package that isn't installed: pip install 'lrkit[{name}]' ({error})"
        ) from error
