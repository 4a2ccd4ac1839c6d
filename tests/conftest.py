"""Fixtures shared by all tests."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes of tests share the processor; the libraries read this when they are imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No test fails by the clock: machines differ, and are busy.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

ROOT = Path(__file__).resolve().parents[1]

QUPATH_SECONDS = 3600
"""The only limit of a test that starts QuPath, once or several times, perhaps on a busy machine."""

pytest_plugins = ["tests.drawn_tissue", "tests.one_stardist"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("qupath") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(QUPATH_SECONDS))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of converted networks for all tests and the processes that they start."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLGENNET_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and QuPath projects that lies beside the checkout, where there is one."""
    folder = Path(os.environ.get("CELLGENNET_SHARED", ROOT.parent / "shared"))
    if not (folder / "qupath").is_dir():
        pytest.skip(f"no test data at {folder} (set CELLGENNET_SHARED)")
    return folder


@pytest.fixture
def copied(shared: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a real project, of the version that the test names; its slides stay where they are."""
    folder = tmp_path / "copy"
    shutil.copytree(shared / "qupath" / f"project_v{request.param}", folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture(scope="session")
def sample_project() -> Path:
    """The sample project that the package ships (never written to: copy it)."""
    return ROOT / "sample_projects" / "quickstart"
