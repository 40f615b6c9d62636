"""What every test shares: hypothesis without deadlines (machines are shared) and reproducible."""

import pytest
import torch
from hypothesis import settings

from lrkit.output.cli import main

settings.register_profile("lrkit", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("lrkit")


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=2, help="how often test_kills kills a run (make soak: 200)")


TRAINERS = ("lightning", "transformers", "accelerate", "ignite", "skorch", "distributed", "tensorboard")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Keep all tests of a trainer in one process, since each of them takes seconds to import."""
    for item in items:
        found = next((name for name in TRAINERS if name in item.path.stem and item.path.suffix in (".py", ".md")), None)
        if found is not None and {"trainers", "tests"} & {item.path.parent.name}:
            item.add_marker(pytest.mark.xdist_group(found))


@pytest.fixture
def lrkit(capsys, monkeypatch, tmp_path):
    """Run the command line in-process, in an empty folder; returns status, output, errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main(list(map(str, arguments)))
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return call


@pytest.fixture
def without_inductor(monkeypatch):
    """The same graphs and guards, but eager operations: quick to compile, and equal to the bit."""
    real = torch.compile

    def quick(function, **given):
        options = {"guard_filter_fn": given["options"]["guard_filter_fn"]}
        return real(function, fullgraph=True, dynamic=False, backend=_aot_eager, options=options)

    monkeypatch.setattr(torch, "compile", quick)


def _aot_eager(graph, inputs, options=None):
    return torch._dynamo.backends.debugging.aot_eager(graph, inputs)
