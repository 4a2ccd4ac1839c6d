"""What an interrupted training left is used only where it is whole; the rest is reported and made again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cellgennet_qupath.core.arrays import DamagedArraysError, read_npz
from cellgennet_qupath.core.config import LossConfig, PseudoConfig, StudentConfig
from cellgennet_qupath.core.errors import BundleError, DamagedStateError, ProjectError, TrainingError
from cellgennet_qupath.core.progress import SILENT
from cellgennet_qupath.networks.network import check_weights, load_network
from cellgennet_qupath.training.data import TrainingData, UnlabelledTile
from cellgennet_qupath.training.pseudo_label_store import PseudoLabelStore
from cellgennet_qupath.training.pseudo_labels import tile_is_whole, write_tile
from cellgennet_qupath.training.run_folder import (
    TrainingRun,
    prepare_run,
    read_json,
    with_checksum,
    write_json,
)
from cellgennet_qupath.training.student import StudentTrainer
from cellgennet_qupath.training.teacher_stage import teacher_stage

from ..helpers import Recorder
from .test_run import TINY, DrawnTile, drawn_data

SMALL = StudentConfig(architecture="unet", width=4, levels=2, patch=64)


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes) -> bytes:
    return b""


def zeroed(content: bytes) -> bytes:
    return bytes(len(content))


def flipped(content: bytes) -> bytes:
    damaged = bytearray(content)
    damaged[2 * len(damaged) // 3] ^= 4
    return bytes(damaged)


DAMAGES = [halved, emptied, zeroed, flipped]
Damage = Callable[[bytes], bytes]


def spoil(file: Path, damage: Damage) -> None:
    file.write_bytes(damage(file.read_bytes()))


def trainer(seed: int = 0) -> StudentTrainer:
    return StudentTrainer(SMALL, LossConfig(), PseudoConfig(), 8, seed)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_of_the_student_is_refused(tmp_path: Path, damage: Damage) -> None:
    file = tmp_path / "c.safetensors"
    trainer().save_checkpoint(file, [{"total": 1.5}])
    assert trainer().load_checkpoint(file) == [{"total": 1.5}]
    spoil(file, damage)
    with pytest.raises(DamagedStateError, match="cut off or damaged"):
        trainer().load_checkpoint(file)


def test_every_flipped_bit_of_a_checkpoint_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    trainer().save_checkpoint(file, [{"total": 1.5}])
    whole, other = file.read_bytes(), trainer(seed=1)
    for place in np.random.default_rng(0).integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(place % 8)
        file.write_bytes(damaged)
        try:
            other.load_checkpoint(file)
        except TrainingError:
            continue
        pytest.fail(f"a flipped bit of byte {place} was not seen")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_tile_is_made_again(tmp_path: Path, damage: Damage) -> None:
    listener = Recorder()
    data = TrainingData(0.5, 1, [], [], [DrawnTile()])
    run = TrainingRun(tmp_path, data, TINY, True, listener)

    def predict(image: np.ndarray) -> np.ndarray:
        return np.full((image.shape[0] // 2, image.shape[1] // 2, 2), 0.5, np.float32)

    PseudoLabelStore(run).predict_missing("teacher", predict)
    files = [tmp_path / "pseudo" / name / "00000.npz" for name in ("tiles", "teacher")]
    whole = [read_npz(file) for file in files]
    for file in files:
        spoil(file, damage)
    assert not PseudoLabelStore(run).teacher_is_complete
    PseudoLabelStore(run).predict_missing("teacher", predict)
    for file, before in zip(files, whole, strict=True):
        after = read_npz(file)
        assert all(np.array_equal(before[name], after[name]) for name in before)
    assert {Path(line.split(": ")[0]).parent.name for line in listener.warnings} == {"tiles", "teacher"}


def test_a_tile_of_other_parts_is_not_whole(tmp_path: Path) -> None:
    file = tmp_path / "t.npz"
    write_tile(file, UnlabelledTile(np.zeros((4, 4, 3), np.float32), np.ones((4, 4), bool), "t"), 2)
    assert tile_is_whole(file, 2)
    np.savez(file, image=np.zeros((4, 4, 3), np.uint8), usable=np.ones((3, 3), bool))
    assert not tile_is_whole(file, 2)
    assert not tile_is_whole(tmp_path / "missing.npz", 2)


def test_arrays_larger_than_allowed_and_objects_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez_compressed(file, a=np.zeros(1000))
    assert read_npz(file)["a"].shape == (1000,)
    with pytest.raises(DamagedArraysError, match="larger"):
        read_npz(file, 999)
    np.savez(file, a=np.array([{}], dtype=object))
    with pytest.raises(DamagedArraysError):
        read_npz(file)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_whose_record_is_damaged_starts_again(tmp_path: Path, damage: Damage) -> None:
    listener = Recorder()
    folder = tmp_path / "run"
    prepare_run(folder, drawn_data(), TINY, False, listener)
    (folder / "state").mkdir()
    prepare_run(folder, drawn_data(), TINY, True, listener)
    assert (folder / "state").is_dir() and listener.warnings == []
    spoil(folder / "run.yaml", damage)
    prepare_run(folder, drawn_data(), TINY, True, listener)
    assert not (folder / "state").exists()
    (line,) = listener.warnings
    assert "run.yaml" in line and "damaged" in line


@pytest.mark.parametrize("name", ["liver.2024", "a.b.c", "v1.0"])
def test_a_run_of_version_01_is_found_where_that_version_kept_it(tmp_path: Path, name: str) -> None:
    listener = Recorder()
    earlier, folder = tmp_path / f"train-{Path(name).stem}", tmp_path / f"train-{name}"
    prepare_run(earlier, drawn_data(), TINY, False, listener)
    (earlier / "state").mkdir()
    prepare_run(folder, drawn_data(), TINY, True, listener)
    assert (folder / "state").is_dir() and not earlier.exists()
    assert listener.lines == [f"{earlier}: a run of version 0.1, which is continued in {folder.name}."]


def test_a_run_of_another_name_with_other_settings_stays(tmp_path: Path) -> None:
    listener = Recorder()
    earlier = tmp_path / "train-liver"
    prepare_run(earlier, drawn_data(), TINY.model_copy(update={"seed": 5}), False, listener)
    prepare_run(tmp_path / "train-liver.2024", drawn_data(), TINY, True, listener)
    assert (earlier / "run.yaml").is_file()
    assert "is not used" in listener.lines[0] and "from the beginning" in listener.lines[1]


def test_the_folder_of_a_run_may_not_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "run").symlink_to(tmp_path / "mine")
    with pytest.raises(ProjectError, match="is a link"):
        prepare_run(tmp_path / "run", drawn_data(), TINY, False, Recorder())
    assert (tmp_path / "mine" / "thesis.txt").is_file()


@pytest.mark.parametrize("damage", DAMAGES)
def test_plain_values_are_read_whole_or_not_at_all(tmp_path: Path, damage: Damage) -> None:
    file = tmp_path / "teacher.json"
    write_json(file, with_checksum({"thresholds": {"prob": 0.5}, "scores": {"pq": 0.61}}))
    assert read_json(file)["scores"] == {"pq": 0.61}
    spoil(file, damage)
    assert read_json(file) is None


@pytest.mark.parametrize(
    "text", ["1: a\nb: c\nsha256: d\n", "x: {1: a, b: c}\nsha256: d\n", "[1]", "null: 1"]
)
def test_a_record_of_other_values_is_not_whole(tmp_path: Path, text: str) -> None:
    listener = Recorder()
    prepare_run(tmp_path / "run", drawn_data(), TINY, False, listener)
    (tmp_path / "run" / "run.yaml").write_text(text, encoding="utf-8")
    prepare_run(tmp_path / "run", drawn_data(), TINY, True, listener)
    assert len(listener.warnings) == 1


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, float]]]:
    """The folder of a run whose teacher is finished, and what the stage returned."""
    folder = tmp_path_factory.mktemp("taught") / "run"
    return folder, teacher_stage(prepare_run(folder, drawn_data(), TINY, False, SILENT), None, None)


@pytest.mark.slow
@pytest.mark.usefixtures("one_stardist")
@pytest.mark.parametrize(
    "part", ["state/teacher_state.npz", "teacher.json", "stardist/teacher/weights_best.h5"]
)
def test_a_damaged_teacher_is_made_again_with_the_same_weights(
    taught: tuple[Path, dict[str, dict[str, float]]], tmp_path: Path, part: str
) -> None:
    listener = Recorder()
    shutil.copytree(taught[0], tmp_path / "run")
    weights = tmp_path / "run" / "stardist" / "teacher" / "weights_best.h5"
    whole = weights.read_bytes()
    if part.startswith("state"):
        (tmp_path / "run" / "teacher.json").unlink()
    spoil(tmp_path / "run" / part, flipped if part.endswith("npz") else halved)
    again = teacher_stage(prepare_run(tmp_path / "run", drawn_data(), TINY, True, listener), None, None)
    assert (again, weights.read_bytes()) == (taught[1], whole)
    assert any(Path(part).name in line for line in listener.warnings)


def weights_file(folder: Path) -> Path:
    file = folder / "student.safetensors"
    trainer().save_weights(file)
    return file


@pytest.mark.parametrize("damage", DAMAGES[:3])
def test_damaged_weights_are_one_line(tmp_path: Path, damage: Damage) -> None:
    file = weights_file(tmp_path)
    spoil(file, damage)
    with pytest.raises(BundleError):
        load_network(file, SMALL, torch.device("cpu"))
    with pytest.raises(TrainingError):
        check_weights(file, SMALL)


@pytest.mark.parametrize("length", [2**63, 10**9, 0])
def test_a_header_of_absurd_length_is_refused_by_the_size_of_the_file(tmp_path: Path, length: int) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(BundleError):
        load_network(file, SMALL, torch.device("cpu"))


def test_weights_of_another_shape_are_refused_before_slides_are_read(tmp_path: Path) -> None:
    file = weights_file(tmp_path)
    check_weights(file, SMALL)
    with pytest.raises(TrainingError, match="another shape"):
        check_weights(file, SMALL.model_copy(update={"width": 8}))
    save_file({"a": torch.zeros(3)}, file)
    with pytest.raises(TrainingError, match="another shape"):
        check_weights(file, SMALL)
