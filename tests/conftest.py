"""What every test shares: hypothesis without deadlines (machines are shared) and reproducible."""

from hypothesis import settings

settings.register_profile("lrkit", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("lrkit")


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="how often test_kills kills a run (make soak: 200)")
