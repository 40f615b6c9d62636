"""Images and labels from a folder in MNIST's IDX format, raw or gzip-compressed."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lrkit.schedules.errors import InputError

__all__ = ["MNIST_FOLDER", "Split", "load_folder"]

Split: TypeAlias = Literal["train", "test"]

MNIST_FOLDER = Path(__file__).parent / "mnist"

_PREFIXES = {"train": ("train",), "test": ("t10k", "test")}
_PARTS = {"images": ("images", 3), "labels": ("labels", 1)}


def load_folder(path: str | Path, split: Split) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images and labels of one split.

    The files are named as MNIST's are (`train-images-idx3-ubyte`, `t10k-labels-idx1-ubyte`), with `.gz` or not,
    with a dot before `idx` or a dash, with or without a prefix such as `emnist-letters-`; they lie in the folder
    itself, in `raw`, or in one folder's `raw` (torchvision's `MNIST/raw`).

    Returns:
        Images, uint8 of shape (n, rows, columns), and labels, int64 of shape (n,).

    Raises:
        InputError: for a missing folder or file, a wrong magic number, a file whose length isn't what its header
            says, a damaged gzip file, and images and labels of different count.

    >>> images, labels = load_folder(MNIST_FOLDER, "test")
    >>> images.shape, labels[:5].tolist()
    ((10000, 28, 28), [7, 2, 1, 0, 4])
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"the data folder {folder} {'is not a folder' if folder.exists() else 'does not exist'}")
    images_file, labels_file = (_find(folder, split, part) for part in _PARTS)
    images = _read(images_file, dimensions=3)
    labels = _read(labels_file, dimensions=1)
    if len(images) != len(labels):
        raise InputError(f"{images_file} has {len(images)} images, but {labels_file} has {len(labels)} labels")
    if len(images) == 0:
        raise InputError(f"{images_file} has no images")
    return images, labels.astype(np.int64)


def _find(folder: Path, split: Split, part: str) -> Path:
    """The one file of the folder that holds this part of this split."""
    word, dimensions = _PARTS[part]
    patterns = [
        f"{where}{prefix}-{word}{dash}idx{dimensions}-ubyte{end}"
        for where in ("", "raw/", "*/raw/")
        for prefix in [each for stem in _PREFIXES[split] for each in (stem, f"*-{stem}")]
        for dash in "-."
        for end in ("", ".gz")
    ]
    found = sorted({file for pattern in patterns for file in folder.glob(pattern)})
    # torchvision leaves the archive beside what it unpacked from it.
    found = [file for file in found if file.suffix != ".gz" or file.with_suffix("") not in found]
    if not found:
        wanted = f"{_PREFIXES[split][0]}-{word}-idx{dimensions}-ubyte"
        raise InputError(f"the data folder {folder} has no {split} {part}: no file {wanted} or {wanted}.gz")
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(folder)) for file in found)
        raise InputError(f"the data folder {folder} has several files with {split} {part}: {names}")
    return found[0]


def _read(file: Path, dimensions: int) -> NDArray[np.uint8]:
    """An array of bytes: a magic number, big-endian sizes, then the data."""
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file} can't be read: {error}") from None
    header = 4 * (1 + dimensions)
    magic, wanted = int.from_bytes(content[:4], "big"), 0x800 + dimensions
    if len(content) < 4 or magic != wanted:
        raise InputError(f"{file} begins with the magic number {magic}, expected {wanted}")
    if len(content) < header:
        raise InputError(f"{file} is truncated: it has {len(content)} bytes, its header alone {header}")
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]
    expected = header + math.prod(shape)
    if len(content) != expected:
        fault = "truncated" if len(content) < expected else "too long"
        raise InputError(f"{file} is {fault}: its header asks for {expected} bytes, it has {len(content)}")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
