"""Data in MNIST's format: what ships with the package, and folders of the user's own."""

import gzip
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrkit import InputError
from lrkit.training.idx import MNIST_FOLDER, load_folder

MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def idx(array):
    return (
        (0x800 + array.ndim).to_bytes(4, "big")
        + b"".join(n.to_bytes(4, "big") for n in array.shape)
        + array.astype(np.uint8).tobytes()
    )


def write_folder(folder, n=7, images="{}-images-idx3-ubyte", labels="{}-labels-idx1-ubyte"):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for split in ("train", "t10k"):
        for name, array in (
            (images, rng.integers(0, 256, (n, 4, 5))),
            (labels, rng.integers(0, 10, n)),
        ):
            file = folder / name.format(split)
            content = idx(array)
            file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    return folder


@pytest.mark.parametrize("name", MD5)
def test_the_embedded_files_are_the_original_ones(name):
    raw = gzip.decompress((MNIST_FOLDER / f"{name}.gz").read_bytes())
    assert hashlib.md5(raw).hexdigest() == MD5[name]


def test_all_70000_images_are_there_with_their_notice():
    sizes = {split: load_folder(MNIST_FOLDER, split) for split in ("train", "test")}
    assert [(i.shape, i.dtype, y.dtype) for i, y in sizes.values()] == [
        ((60_000, 28, 28), np.uint8, np.int64),
        ((10_000, 28, 28), np.uint8, np.int64),
    ]
    assert np.bincount(sizes["test"][1]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert "Creative Commons" in (MNIST_FOLDER / "NOTICE.md").read_text()


@pytest.mark.parametrize("where", ["", "raw", "MNIST/raw", "FashionMNIST/raw"])
@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("form", ["{}-%s-idx%d-ubyte", "{}-%s.idx%d-ubyte", "emnist-letters-{}-%s-idx%d-ubyte"])
def test_reads_every_layout(tmp_path, where, end, form):
    write_folder(tmp_path / where, images=form % ("images", 3) + end, labels=form % ("labels", 1) + end)
    for split in ("train", "test"):
        images, labels = load_folder(tmp_path, split)
        assert images.shape == (7, 4, 5)
        assert labels.shape == (7,)


def test_an_archive_beside_its_unpacked_file_is_the_same_file(tmp_path):
    write_folder(tmp_path)
    write_folder(tmp_path, images="{}-images-idx3-ubyte.gz", labels="{}-labels-idx1-ubyte.gz")
    assert len(load_folder(str(tmp_path), "train")[0]) == 7


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.randoms(use_true_random=False))
def test_what_was_written_is_read_back(tmp_path_factory, n, rows, columns, random):
    folder = tmp_path_factory.mktemp("idx")
    images = np.array([random.randrange(256) for _ in range(n * rows * columns)]).reshape(n, rows, columns)
    labels = np.array([random.randrange(256) for _ in range(n)])
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    read_images, read_labels = load_folder(folder, "train")
    np.testing.assert_array_equal(read_images, images)
    np.testing.assert_array_equal(read_labels, labels)


def spoil(file, change):
    file.write_bytes(change(file.read_bytes()))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda b: b"\0\0\x08\x01" + b[4:], "magic number 2049, expected 2051"),
        (lambda b: b"", "magic number 0, expected 2051"),
        (lambda b: b[:9], "truncated: it has 9 bytes, its header alone 16"),
        (lambda b: b[:-1], "truncated: its header asks for 156 bytes, it has 155"),
        (lambda b: b + b"x", "too long: its header asks for 156 bytes, it has 157"),
        (lambda b: b[:4] + b"\xff" * 12 + b[16:], "truncated: its header asks for"),
        (lambda b: idx(np.zeros((6, 4, 5))), "has 6 images, but .* has 7 labels"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(tmp_path, change, sentence):
    write_folder(tmp_path)
    spoil(tmp_path / "train-images-idx3-ubyte", change)
    with pytest.raises(InputError, match=sentence) as caught:
        load_folder(tmp_path, "train")
    assert "train-images-idx3-ubyte" in str(caught.value)


def test_no_images(tmp_path):
    with pytest.raises(InputError, match="has no images"):
        load_folder(write_folder(tmp_path, n=0), "train")


@pytest.mark.parametrize("change", [lambda b: b[:-9], lambda b: b"not gzip", lambda b: b[:20] + b"\xff" * 9 + b[29:]])
def test_a_damaged_archive(tmp_path, change):
    write_folder(tmp_path, images="{}-images-idx3-ubyte.gz")
    spoil(tmp_path / "train-images-idx3-ubyte.gz", change)
    with pytest.raises(InputError, match=r"idx3-ubyte\.gz can't be read"):
        load_folder(tmp_path, "train")


def test_missing_folder_file_and_ambiguity(tmp_path):
    with pytest.raises(InputError, match="none does not exist"):
        load_folder(tmp_path / "none", "train")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        load_folder(file, "train")
    with pytest.raises(InputError, match=r"has no train images: no file train-images-idx3-ubyte or .*gz"):
        load_folder(tmp_path, "train")
    write_folder(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="no test labels"):
        load_folder(tmp_path, "test")
    write_folder(tmp_path / "MNIST/raw")
    with pytest.raises(InputError, match=r"several files with train images: MNIST/raw/.*, train-images"):
        load_folder(tmp_path, "train")
