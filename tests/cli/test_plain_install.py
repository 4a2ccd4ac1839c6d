"""An installation without extras segments, exports and evaluates; what needs an extra says which one.

A subprocess stands in for such an installation: its import system does not find what only extras install.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cellgennet_qupath.core.extras import EXTRAS

from ..projects import keep_images

ROOT = Path(__file__).resolve().parents[2]

# What the extras install, directly or through their own requirements, and the plain installation lacks.
ABSENT = sorted(
    {module for modules in EXTRAS.values() for module in modules}
    | {"keras", "numba", "dask", "jpype", "h5py", "scanpy"}
)

SCRIPT = """
import contextlib, io, json, sys
from importlib.machinery import PathFinder

absent, commands = set(json.loads(sys.argv[1])), json.loads(sys.argv[2])

class WithoutExtras:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.split(".")[0] in absent else PathFinder.find_spec(name, path, target)

sys.meta_path = [WithoutExtras if finder is PathFinder else finder for finder in sys.meta_path]

from cellgennet_qupath.cli import run

results = {}
for name, arguments in commands.items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    results[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
loaded = sorted(absent & {name.split(".")[0] for name in sys.modules})
print(json.dumps({"results": results, "loaded": loaded}))
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Session:
    """Every command that was run, by name, and the absent modules that were imported all the same."""

    folder: Path
    results: dict[str, Done]
    loaded: list[str]


@pytest.fixture(scope="module")
def session(sample_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("plain")
    project = str(keep_images(shutil.copytree(sample_project, folder / "project"), 2))
    # In this order: what needs an extra is refused before anything is written, so it comes first.
    (folder / "short.yaml").write_text(
        "student: {epochs: 1, steps_per_epoch: 1, patch: 64}\npseudo: {tiles: 1}\nadaptation: {scale: 1}\n",
        encoding="utf-8",
    )
    commands = {
        "doctor": ["doctor", "--json"],
        "train": ["train", project, "-o", str(folder / "m.cgn"), "--init", "none"],
        "onnx": ["models", "export", "pretrained", "-o", str(folder / "m.zip")],
        "dask": ["segment", project, "--dask", "tcp://127.0.0.1:9"],
        "qupath": ["inspect", project, "--backend", "qupath"],
        "inspect": ["inspect", project],
        "segment": ["segment", project, "--json"],
        "workers": ["segment", project, "--workers", "2", "--restart"],
        "csv": ["export", project, "-o", str(folder / "t.csv")],
        "parquet": ["export", project, "-o", str(folder / "t.parquet")],
        "geojson": ["export", project, "-o", str(folder / "t.geojson")],
        "h5ad": ["export", project, "-o", str(folder / "t.h5ad")],
        "evaluate": ["evaluate", project, "-o", str(folder / "report"), "--json"],
        "adapt": ["train", project, "-o", str(folder / "adapted.cgn"), "-c", str(folder / "short.yaml")],
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(ABSENT), json.dumps(commands)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=ROOT,
        timeout=540,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    results = {name: Done(**result) for name, result in document["results"].items()}
    return Session(folder, results, document["loaded"])


def test_nothing_of_an_extra_is_imported(session: Session) -> None:
    assert session.loaded == []


@pytest.mark.parametrize(
    "command", ["doctor", "inspect", "segment", "workers", "csv", "parquet", "geojson", "evaluate", "adapt"]
)
def test_it_runs(session: Session, command: str) -> None:
    done = session.results[command]
    assert done.code == 0, done.err
    assert "Traceback" not in done.err


def test_segment_finds_nuclei_and_export_writes_them(session: Session) -> None:
    images = json.loads(session.results["segment"].out)["images"]
    count = sum(image["detections"] for image in images)
    assert count > 0
    lines = (session.folder / "t.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == count + 1
    assert len(json.loads((session.folder / "t.geojson").read_text(encoding="utf-8"))["features"]) == count


def test_evaluate_writes_its_report(session: Session) -> None:
    report = Path(json.loads(session.results["evaluate"].out)["report"])
    assert report.is_file()


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("train", "train"),
        ("onnx", "bioimageio"),
        ("dask", "cluster"),
        ("qupath", "qupath"),
        ("h5ad", "h5ad"),
    ],
)
def test_what_needs_an_extra_ends_with_one_line(session: Session, command: str, extra: str) -> None:
    done = session.results[command]
    assert done.code == 1
    assert done.out == ""
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("Error: ")
    assert f"cellgennet-qupath[{extra}]" in lines[0]


def test_what_needs_an_extra_leaves_no_file(session: Session) -> None:
    assert not (session.folder / "m.cgn").exists()
    assert not (session.folder / "m.zip").exists()
    assert not (session.folder / "t.h5ad").exists()


def test_doctor_names_the_extras(session: Session) -> None:
    document = json.loads(session.results["doctor"].out)
    rows = {row["extra"]: row for row in document["commands"]}
    assert document["ready"] is True
    assert rows[""]["ready"] is True
    for extra, modules in EXTRAS.items():
        assert rows[extra]["missing"] == list(modules)
        assert f"cellgennet-qupath[{extra}]" in rows[extra]["remedy"]
