"""What every test shares: hypothesis without deadlines (machines are shared) and reproducible."""

import functools
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from lrkit.analysis.suggestions import suggest
from lrkit.output.cli import main

settings.register_profile("lrkit", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("lrkit")


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=2, help="how often test_kills kills a run (make soak: 200)")


# Tests that share what takes seconds to import, to compile, to train or to start, by what their files are called.
TRAINERS = ("lightning", "fabric", "transformers", "accelerate", "ignite", "skorch", "distributed", "tensorboard")
COMPILED = ("compiled", "compiled_step", "lanes", "lanes_law", "lanes_parted", "test_data")
ALONE = ("benchmarks", "best_schedule", "comparison_report", "finder", "kills", "laws", "predict_command", "tournament")


def group_of(nodeid):
    """Which tests a test stays in one process with: those of its trainer, for example, or none but itself."""
    path = Path(nodeid.partition("::")[0])
    name = path.stem.removeprefix("test_")
    if {"trainers", "tests"} & {path.parent.name} and path.suffix in (".py", ".md"):
        found = next((each for each in TRAINERS if each in name), None)
        return found or ("compiled" if name in COMPILED else name if name in ALONE else nodeid)
    return nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With --dist loadscope: large groups first, and single tests to fill up.

    Marks don't do it: with pytest 9.2, xdist forgets groups that are marked.
    """
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid)

    return Together(config, log)


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
def quick_intervals(monkeypatch):
    """Rates that are found get their intervals from 20 samples, not 200: as good where their width doesn't matter."""
    monkeypatch.setattr("lrkit.analysis.ramp.suggest", functools.partial(suggest, bootstrap=20))


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
