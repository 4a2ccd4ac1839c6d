"""Converted networks are kept: never a wrong one, never half of one, and torch is not needed to read them."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from cellgennet_qupath.core.config import StudentConfig
from cellgennet_qupath.core.errors import BundleError
from cellgennet_qupath.networks import saved_network as saved
from cellgennet_qupath.networks.openvino_runtime import OpenVinoRuntime
from cellgennet_qupath.networks.saved_network import SavedNetwork, cache_folder, saved_network
from tests.networks.test_runtime import ENCODER, UNET, pixels, weights

_LOAD = """
import sys
from pathlib import Path
import numpy as np
from cellgennet_qupath.core.config import StudentConfig
from cellgennet_qupath.networks.runtime import load_runtime
runtime = load_runtime(Path(sys.argv[1]), StudentConfig.model_validate_json(sys.argv[2]), "cpu")
np.save(sys.argv[4], runtime.predict(np.load(sys.argv[3])))
print([name for name in ("torch", "pandas", "scipy") if name in sys.modules])
"""


class Converter:
    """Counts conversions; each gives another network."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, weights: Path, config: StudentConfig, rim: int) -> SavedNetwork:
        self.calls += 1
        return SavedNetwork(b"<graph/>" * self.calls, bytes(range(256)))


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; the folder of its files."""
    monkeypatch.setenv("CELLGENNET_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept" / "networks"


@pytest.fixture
def some_weights(tmp_path: Path) -> Path:
    file = tmp_path / "student.safetensors"
    file.write_bytes(b"weights")
    return file


@pytest.mark.parametrize("config", [UNET, ENCODER], ids=["unet", "encoder"])
def test_a_later_process_gets_the_same_maps_without_torch(
    tmp_path: Path, kept: Path, config: StudentConfig
) -> None:
    file = weights(tmp_path, config)
    np.save(tmp_path / "image.npy", pixels(64))
    maps = OpenVinoRuntime(file, config).predict(pixels(64))
    assert len(list(kept.iterdir())) == 2, "with the rim of its maps, and without"
    arguments = [str(file), config.model_dump_json(), *(str(tmp_path / n) for n in ("image.npy", "maps.npy"))]
    done = subprocess.run([sys.executable, "-c", _LOAD, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert np.array_equal(np.load(tmp_path / "maps.npy"), maps)


def test_a_network_is_converted_once(kept: Path, some_weights: Path) -> None:
    convert = Converter()
    first = saved_network(some_weights, UNET, 0, convert)
    assert saved_network(some_weights, UNET, 0, convert) == first
    assert convert.calls == 1


@pytest.mark.parametrize("damage", [b"", b"x", "cut", "flipped", "longer"])
def test_a_damaged_file_is_made_again(kept: Path, some_weights: Path, damage: bytes | str) -> None:
    convert = Converter()
    saved_network(some_weights, UNET, 0, convert)
    (file,) = kept.iterdir()
    content = file.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    texts = {"cut": content[:-40], "flipped": bytes(flipped), "longer": content + b" "}
    file.write_bytes(texts[damage] if isinstance(damage, str) else damage)
    again = saved_network(some_weights, UNET, 0, convert)
    assert convert.calls == 2
    assert again.graph == b"<graph/>" * 2
    assert saved_network(some_weights, UNET, 0, convert) == again
    assert list(kept.iterdir()) == [file]


def test_other_weights_settings_versions_or_code_are_another_network(
    kept: Path, some_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = Converter()
    saved_network(some_weights, UNET, 0, convert)
    saved_network(some_weights, ENCODER, 0, convert)
    saved_network(some_weights, UNET, 64, convert)
    assert convert.calls == 3
    some_weights.write_bytes(b"weightz")
    saved_network(some_weights, UNET, 0, convert)
    assert convert.calls == 4
    real = metadata.version
    for number, package in enumerate(("openvino", "torch"), start=5):
        with monkeypatch.context() as patch:
            patch.setattr(metadata, "version", lambda name, one=package: "9.9" if name == one else real(name))
            saved_network(some_weights, UNET, 0, convert)
        assert convert.calls == number
    monkeypatch.setattr(saved, "__version__", "99.0")
    saved_network(some_weights, UNET, 0, convert)
    assert convert.calls == 7


@pytest.mark.parametrize("name", ["efficientnet_lite.py", "unet.py", "grid.py"])
def test_other_code_is_another_network(
    tmp_path: Path, kept: Path, some_weights: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    convert, files = Converter(), saved._code()
    saved_network(some_weights, UNET, 0, convert)
    (file,) = (one for one in files if one.name == name)
    changed = tmp_path / name
    changed.write_bytes(file.read_bytes() + b"\n")
    monkeypatch.setattr(saved, "_code", lambda: [changed if one == file else one for one in files])
    saved_network(some_weights, UNET, 0, convert)
    assert convert.calls == 2
    monkeypatch.setattr(saved, "_code", lambda: files)
    saved_network(some_weights, UNET, 0, convert)
    assert convert.calls == 2


HARMLESS = {"core": ("class_patterns", "errors", "extras", "files", "wording"), "geometry": ("rectangle",)}
"""What a conversion imports and what decides nothing about a network."""


def test_no_code_that_builds_a_network_is_forgotten() -> None:
    """All modules of the package that a conversion imports, directly or not, are part of a network's key."""
    package = Path(saved.__file__).parents[1]
    seen = {package / "__init__.py"}  # the version; it lists all that the package offers
    waiting = [package / "networks" / "conversion.py"]
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += imported(file, package)
    harmless = {package / room / f"{name}.py" for room, names in HARMLESS.items() for name in names}
    assert package / "networks" / "efficientnet_lite.py" in seen
    assert seen - harmless - {package / "__init__.py"} <= set(saved._code())


def imported(file: Path, package: Path) -> list[Path]:
    """The files of the package's modules that a file imports."""
    found: list[Path] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            place = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            candidates = [place, *(place / one.name for one in node.names)]
            found += [c.with_suffix(".py") for c in candidates if c.with_suffix(".py").is_file()]
            found += [c / "__init__.py" for c in candidates if (c / "__init__.py").is_file()]
    assert all(one.is_relative_to(package) for one in found)
    return found


def test_without_files_of_code_nothing_is_kept(
    kept: Path, some_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = Converter()
    monkeypatch.setattr(saved, "_code", list)
    for calls in (1, 2):
        saved_network(some_weights, UNET, 0, convert)
        assert convert.calls == calls
    assert not kept.exists()


def test_without_a_cache_networks_are_converted_each_time(
    tmp_path: Path, some_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = Converter()
    monkeypatch.setenv("CELLGENNET_CACHE", "")
    assert cache_folder() is None
    saved_network(some_weights, UNET, 0, convert)
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    monkeypatch.setenv("CELLGENNET_CACHE", str(tmp_path / "file"))
    saved_network(some_weights, UNET, 0, convert)
    monkeypatch.setenv("CELLGENNET_CACHE", str(tmp_path / "new"))
    monkeypatch.setattr(metadata, "version", _unknown)
    saved_network(some_weights, UNET, 0, convert)
    assert convert.calls == 3
    assert not (tmp_path / "new").exists()


def _unknown(name: str) -> str:
    raise metadata.PackageNotFoundError(name)


def test_processes_at_once_leave_one_whole_network(kept: Path, some_weights: Path) -> None:
    convert, found = Converter(), []
    begin = threading.Barrier(8)

    def load() -> None:
        begin.wait()
        found.append(saved_network(some_weights, UNET, 0, convert))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (file,) = kept.iterdir()
    assert SavedNetwork.unpacked(file.read_bytes()) in found
    assert len(found) == 8


def test_few_networks_are_kept_and_the_last_used_among_them(kept: Path, some_weights: Path) -> None:
    convert = Converter()
    saved_network(some_weights, UNET, 0, convert)
    (first,) = kept.iterdir()
    for number in range(20):
        some_weights.write_bytes(b"%d" % number)
        saved_network(some_weights, UNET, 0, convert)
        some_weights.write_bytes(b"weights")
        saved_network(some_weights, UNET, 0, convert)
    assert convert.calls == 21
    assert len(list(kept.iterdir())) == saved._MOST_KEPT
    assert first.exists()


def test_missing_weights_are_a_fault_of_the_bundle(tmp_path: Path, kept: Path) -> None:
    with pytest.raises(BundleError, match="Copy the bundle again"):
        saved_network(tmp_path / "student.safetensors", UNET, 0, Converter())
