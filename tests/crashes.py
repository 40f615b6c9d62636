"""Deaths of the process, at a moment of one's choice."""

import os
from pathlib import Path


class KilledError(BaseException):
    """Stands for the death of the process: nothing handles it."""


def crash_at(patch, event):
    """Die before or after the given call that changes the disk; returns the counter of such calls."""
    count = [0]

    def dying(function):
        def call(*arguments, **options):
            for after in (False, True):
                count[0] += 1
                if count[0] == event:
                    raise KilledError
                if not after:
                    result = function(*arguments, **options)
            return result

        return call

    patch.setattr(os, "fsync", dying(os.fsync))
    for name in ("replace", "unlink", "mkdir"):
        patch.setattr(Path, name, dying(getattr(Path, name)))
    return count
