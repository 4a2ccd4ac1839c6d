"""What several tests of segmentation start with."""

from __future__ import annotations

from pathlib import Path

import pytest

from .projects import MemoryProject


@pytest.fixture
def project(tmp_path: Path) -> MemoryProject:
    return MemoryProject(tmp_path)
