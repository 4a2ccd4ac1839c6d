"""Every command line of README and documentation is run by a test, or listed here with the reason why not."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from .helpers import invoke
from .projects import keep_images

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "sample_projects" / "README.md",
    ROOT / "findings" / "README.md",
]

HERE = r"cellgennet (inspect|train|segment|suggest|restore|export|evaluate) MyProject\b.*|cellgennet doctor"
"""Run below, in the order of the README."""

ELSEWHERE = {
    r"cellgennet demo": ("tests/test_demo.py", "run_demo("),
    r"cellgennet groovy install": ("tests/qupath/test_install_scripts.py", '"groovy", "install"'),
    r"cellgennet models export pretrained .*": (
        "tests/segmentation/test_bioimageio.py",
        '"models", "export"',
    ),
    r"cellgennet segment PROJECT -m MODEL.cgn --workers 4": (
        "tests/cli/test_plain_install.py",
        '"--workers"',
    ),
    r"cellgennet segment PROJECT -m MODEL.cgn --dask .*": ("tests/cli/test_processes.py", '"--dask"'),
    r"cellgennet evaluate MyData .*--split test --group-by organ.*": (
        "tests/evaluation/test_regions.py",
        "group_by=",
    ),
    r"cellgennet segment MySlides .*": ("tests/cli/test_without_project.py", '"segment", slides, "-o"'),
    r"cellgennet project create .*": ("tests/cli/test_project_create.py", '"project", "create"'),
    r"ogr2ogr .*": ("tests/test_tools_page.py", '"GDAL"'),
    r"python sample_projects/generate.py --no-project": ("tests/sample/test_sample_project.py", "generate"),
}
"""Lines that other tests run, also with other names: pattern -> the file of the test, and what is in it."""

NOT_RUN = {
    r"make (demo|test)": "installs the package first; CI runs `make test`, and the demo has a test",
    r"python -m pytest": "is this run",
    r"\.venv-test/bin/pre-commit install": "changes the checkout's git hooks",
    r"(python3? -m )?(pip install|venv) .*": "installs from the network (wheel: tests/test_distribution.py)",
    r"source cellgennet-env/bin/activate": "only changes the shell that runs it",
    r"CUDA_VISIBLE_DEVICES=. dask worker .*": "needs two graphics cards",
    r"python benchmarks/.*": "a benchmark: hours, or data and weights that are not in the repository",
    r"CELLGENNET_FUZZ=100000 python -m pytest tests/fuzz": "hours; every run of the tests does a small part",
    r"PAQUO_QUPATH_DIR=.* python sample_projects/generate.py .*": "needs QuPath",
    r"sh findings/.*": "installs two versions of a library",
}
"""Lines that no test runs: pattern -> the reason."""

SHORT = "student: {epochs: 1, steps_per_epoch: 2, patch: 64}\npseudo: {tiles: 1}\nadaptation: {scale: 1}\n"
"""Settings for `train`, as those of a real training take minutes."""


def lines_of(page: Path) -> list[str]:
    """The commands in a page's blocks of shell code, without comments."""
    text = page.read_text(encoding="utf-8").replace("\\\n", "")
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", text, re.DOTALL)
    lines = [re.sub(r"\s+#.*", "", line).strip(" &") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def patterns() -> list[str]:
    return [HERE, *ELSEWHERE, *NOT_RUN]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_command_is_run_or_listed(page: Path) -> None:
    for line in lines_of(page):
        fitting = [pattern for pattern in patterns() if re.fullmatch(pattern, line)]
        assert len(fitting) == 1, f"{page.name}: {line} fits {fitting or 'no pattern'}"


def test_no_pattern_is_out_of_date() -> None:
    lines = [line for page in PAGES for line in lines_of(page)]
    unused = [p for p in patterns() if not any(re.fullmatch(p, line) for line in lines)]
    assert unused == []


@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_the_tests_elsewhere_run_the_command(pattern: str) -> None:
    file, words = ELSEWHERE[pattern]
    assert words in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_commands_on_a_project_run_in_the_order_of_the_readme(
    sample_project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sample_project, tmp_path / "MyProject", ignore=shutil.ignore_patterns("cellgennet"))
    keep_images(tmp_path / "MyProject", 2)
    (tmp_path / "short.yaml").write_text(SHORT, encoding="utf-8")
    lines = [line for line in lines_of(ROOT / "README.md") if re.fullmatch(HERE, line)]
    assert {line.split()[1] for line in lines} >= {
        "inspect",
        "train",
        "segment",
        "suggest",
        "export",
        "evaluate",
    }
    for line in lines:
        _, command, *arguments = shlex.split(line)
        if command != "doctor":
            arguments += ["--backend", "files"]
        if command == "train":
            arguments += ["-c", "short.yaml", "--keep", "trained"]
        code, _, err = invoke(capsys, command, *arguments)
        assert code == 0, f"{line}: {err}"
    assert (tmp_path / "nuclei.csv").is_file()
    assert (tmp_path / "report" / "report.html").is_file()
