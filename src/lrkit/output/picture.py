"""A matplotlib figure that shows itself in a notebook, whether pyplot was imported there or not."""

import io

from matplotlib.figure import Figure

__all__ = ["Picture"]


class Picture(Figure):
    """A figure of its own: pyplot doesn't know it, so nothing has to be closed."""

    def _repr_png_(self) -> bytes:
        """What a notebook asks a cell's last value for."""
        drawn = io.BytesIO()
        self.savefig(drawn, format="png", dpi=100)
        return drawn.getvalue()
