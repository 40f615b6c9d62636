"""The structure: imports run one way, the package is light, the public names are what the stub says."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lrkit

SOURCE = Path(lrkit.__file__).parent
LAYERS = ["schedules", "training", "analysis", "trainers", "output"]


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def runtime_source(path):
    """The module without its `if TYPE_CHECKING:` blocks, which import nothing when it runs."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return ast.unparse(tree)


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_between_layers_run_one_way(layer, tmp_path):
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    files = sorted((SOURCE / layer).rglob("*.py"))
    assert files
    for path in files:
        stripped = tmp_path / "module.py"
        stripped.write_text(runtime_source(path))
        for module in imported_modules(stripped):
            if module.startswith("lrkit."):
                assert module.split(".")[1] in allowed, f"{path.name} of {layer} imports {module}"


def test_schedules_import_nothing_heavier_than_numpy(tmp_path):
    for path in (SOURCE / "schedules").rglob("*.py"):
        stripped = tmp_path / "module.py"
        stripped.write_text(runtime_source(path))
        roots = {module.split(".")[0] for module in imported_modules(stripped)}
        assert roots <= {*sys.stdlib_module_names, "numpy", "lrkit"}, path.name


@pytest.mark.parametrize("statement", ["import lrkit", "from lrkit import warmup, parse", "import lrkit.output.cli"])
def test_importing_loads_neither_torch_nor_a_plotting_library(statement):
    check = "import sys; print([m for m in ('torch', 'matplotlib', 'plotly', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"{statement}; {check}"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_exists_and_stands_in_the_stub():
    stub = ast.parse((SOURCE / "__init__.pyi").read_text())
    declared = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert declared | {"__version__"} == set(lrkit.__all__)
    for name in lrkit.__all__:
        assert getattr(lrkit, name) is not None


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lrkit.nothing
