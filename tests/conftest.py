"""What tests share."""

import os
from pathlib import Path

import pytest
from small_project import run_small


@pytest.fixture
def real_data() -> Path:
    """The folder of real archives and weights, which only the project's own machines have."""
    folder = os.environ.get("UNFREEZE_REAL_DATA")
    if not folder:
        pytest.skip("UNFREEZE_REAL_DATA is not set: no real archives and weights here")
    return Path(folder)


@pytest.fixture
def fabric():
    """One CPU, 32 bits."""
    from unfreeze.device.runtime import RuntimeParams, start

    return start(RuntimeParams(device="cpu", precision="32", strict=False, threads="auto"))


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Path:
    """The whole chain run once on a cut of the sample: look at it, or change a copy (`small_project.copy_run`)."""
    folder = tmp_path_factory.mktemp("small_run")
    run_small(folder)
    return folder


LONGEST = ("end_to_end", "test_browser", "test_export", "test_kill", "test_remotes", "test_experiments")
"""In the names of files that take minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take minutes come first: several processes then end at about the same time."""

    def place(item: pytest.Item) -> int:
        return next((i for i, name in enumerate(LONGEST) if name in item.path.name), len(LONGEST))

    items.sort(key=place)
