"""What every test shares: hypothesis without deadlines (machines are shared) and reproducible."""

import pytest
from hypothesis import settings

from lrkit.output.cli import main

settings.register_profile("lrkit", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("lrkit")


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="how often test_kills kills a run (make soak: 200)")


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
