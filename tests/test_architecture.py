"""The architecture: which module may import what, and what no module may contain.

docs/architecture.md explains the floors; tests/test_docs.py compares that page with ``FLOORS``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from cellgennet_qupath.core.extras import EXTRAS

PACKAGE = Path(__file__).resolve().parents[1] / "cellgennet_qupath"
NAME = PACKAGE.name

# From the top floor down; a room may import from itself and from the floors below it. The bare root of the
# package (``__version__``) is free to all, and ``api`` imports everything that it offers.
FLOORS = (
    "__main__",
    "cli",
    "demo",
    "api",
    "images",
    "report",
    "suggestion",
    "training",
    "evaluation",
    "tables",
    "segmentation",
    "annotations",
    "measure",
    "networks",
    "metrics",
    "bundle",
    "qupath",
    "slides",
    "geometry",
    "nuclei",
    "core",
)

# Libraries that are slow to load, optional or hard to replace are each imported in few rooms.
HOMES = {
    "paquo": {"qupath/java"},
    "jpype": {"qupath/java"},
    "tensorflow": {"networks", "training"},
    "keras": {"networks", "training"},
    "stardist": {"networks", "training"},
    "csbdeep": {"networks", "training"},
    "torch": {"networks", "training"},
    "openvino": {"networks"},
    "dask": {"segmentation"},
    "distributed": {"segmentation"},
    "tiffslide": {"slides"},
    "wsidicom": {"slides"},
    "openslide": {"slides"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "anndata": {"tables"},
    "h5py": {"tables"},
    "xlsxwriter": {"tables"},
    "filelock": {"qupath"},
}

# Within qupath/: what a part may import of the room. Reading QuPath's formats needs no Java, and nobody but
# ``open`` reaches for Java.
WITHIN_QUPATH = {
    "formats": {"formats", "project"},
    "java": {
        "java",
        "formats",
        "checked",
        "files",
        "locate",
        "origin",
        "parents",
        "project",
        "stains",
        "stored",
        "suggested",
    },
}
MAY_OPEN_JAVA = {"qupath/open.py", "qupath/create.py", "cli/diagnosis.py"}

# Modules that are themselves imported only where an extra is in use.
ALL_OPTIONAL = {"segmentation/cluster.py", "networks/stardist_encoder.py"}

LONGEST = 400

MODULES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in MODULES}

every_module = pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())


def parts_of(path: Path) -> list[str]:
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def unit(parts: list[str]) -> str:
    """The part of the house that a module belongs to: a package, or a module beside the packages."""
    return parts[0]


def floor(name: str) -> int:
    assert name in FLOORS, f"{name} is missing in FLOORS"
    return FLOORS.index(name)


def imported(path: Path) -> Iterator[list[str]]:
    """Every module that a module imports, anywhere in it, as absolute dotted parts."""
    package = [NAME, *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                submodule = PACKAGE.parent.joinpath(*module, alias.name)
                own = module[0] == NAME and (submodule.is_dir() or submodule.with_suffix(".py").is_file())
                yield [*module, alias.name] if own else module


def own_imports(path: Path) -> Iterator[list[str]]:
    """The imports from this package other than of its bare root, without the package's name."""
    for parts in imported(path):
        if parts[0] == NAME and len(parts) > 1:
            yield parts[1:]


def test_there_is_something_to_check() -> None:
    imports = {(unit(parts_of(p)), unit(t)) for p in MODULES if parts_of(p) for t in own_imports(p)}
    assert ("annotations", "qupath") in imports
    assert ("training", "networks") in imports, "imports inside functions count too"


@every_module
def test_imports_run_downwards(path: Path) -> None:
    parts = parts_of(path)
    if not parts:
        # Nothing but the public functions, which are imported on first use.
        assert {unit(target) for target in own_imports(path)} <= {"api"}
        assert not [n for n in TREES[path].body if isinstance(n, ast.ImportFrom) and n.level]
        return
    here = unit(parts)
    for target in own_imports(path):
        assert floor(unit(target)) >= floor(here), f"{here} may not import {'.'.join(target)}"


def test_no_package_depends_on_itself_through_others() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        if not parts_of(path):
            continue
        here = unit(parts_of(path))
        graph.setdefault(here, set()).update({unit(target) for target in own_imports(path)} - {here})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_no_module_depends_on_itself_through_others() -> None:
    known = {".".join(parts_of(path)) for path in MODULES}
    graph = {
        ".".join(parts_of(path)): {".".join(target) for target in own_imports(path)} & known
        for path in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@every_module
def test_a_library_with_a_home_is_imported_only_there(path: Path) -> None:
    here = path.relative_to(PACKAGE).parent.as_posix()
    for parts in imported(path):
        homes = HOMES.get(parts[0], {here})
        assert any(here == home or here.startswith(f"{home}/") for home in homes), (
            f"{parts[0]} belongs to {homes}"
        )


@every_module
def test_java_stays_behind_one_door(path: Path) -> None:
    """Pure Python reads and writes QuPath's formats; few modules but those of ``java`` import Java."""
    parts = parts_of(path)
    for target in own_imports(path):
        if target[0] != "qupath" or len(target) < 2:
            continue
        if parts[:1] == ["qupath"] and len(parts) > 1:
            allowed = WITHIN_QUPATH.get(parts[1])
            assert allowed is None or target[1] in allowed, f"{'.'.join(parts)} may not import {target[1]}"
        if target[1] == "java" and parts[:2] != ["qupath", "java"]:
            assert path.relative_to(PACKAGE).as_posix() in MAY_OPEN_JAVA


@every_module
def test_optional_libraries_are_imported_where_they_are_used(path: Path) -> None:
    """Nothing that only an extra installs is imported at the top of a module that others import."""
    optional = {module for modules in EXTRAS.values() for module in modules} | {"dask", "jpype", "keras"}
    for node in TREES[path].body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            roots = {name.split(".")[0] for name in names} if not getattr(node, "level", 0) else set()
            assert not roots & optional or path.relative_to(PACKAGE).as_posix() in ALL_OPTIONAL


@every_module
def test_modules_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@every_module
def test_nothing_runs_what_it_reads(path: Path) -> None:
    """No ``eval``, ``exec``, pickle or shell: projects and bundles come from other people."""
    for parts in imported(path):
        assert parts[0] not in {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
    for node in ast.walk(TREES[path]):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name):
            assert called.id not in {"eval", "exec", "compile", "__import__"}, f"line {node.lineno}"
        for keyword in node.keywords:
            harmless = isinstance(keyword.value, ast.Constant) and not keyword.value.value
            assert keyword.arg not in {"shell", "allow_pickle"} or harmless, f"line {node.lineno}"
        if isinstance(called, ast.Attribute) and ast.unparse(called) in {"np.load", "numpy.load"}:
            assert "allow_pickle" in {keyword.arg for keyword in node.keywords}, f"line {node.lineno}"
        if isinstance(called, ast.Attribute):
            assert ast.unparse(called) not in {"os.system", "os.popen", "yaml.load"}
            if ast.unparse(called) == "torch.load":  # only with this option does it read nothing but tensors
                safe = [ast.unparse(k.value) for k in node.keywords if k.arg == "weights_only"]
                assert safe == ["True"], f"line {node.lineno}"


@every_module
def test_no_error_is_swallowed(path: Path) -> None:
    """No bare ``except``, and no broad one whose body does nothing."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in line {node.lineno}"
            names = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
            idle = all(isinstance(s, ast.Pass | ast.Continue) or _is_docstring(s) for s in node.body)
            assert not (names & {"Exception", "BaseException"} and idle), f"line {node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            names = {n.id for a in node.args for n in ast.walk(a) if isinstance(n, ast.Name)}
            assert not names & {"Exception", "BaseException"}, f"line {node.lineno}"


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
