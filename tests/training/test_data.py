"""The training data of a project, and the messages about what it lacks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import shapely
import yaml

from cellgennet_qupath.annotations.labels import Split
from cellgennet_qupath.annotations.windows import LabelledWindow
from cellgennet_qupath.core.config import Config, PseudoConfig, StudentConfig
from cellgennet_qupath.core.errors import SupervisionError, TrainingError
from cellgennet_qupath.core.progress import Reporter, Silent
from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.qupath.images import open_image
from cellgennet_qupath.qupath.project import Annotation, ImageEntry, ObjectCounts, Project
from cellgennet_qupath.training.data import SlideTile, TrainingData, load_training_data
from cellgennet_qupath.training.held_out import windows_to_hold_out
from cellgennet_qupath.training.patches import PatchSampler, generator
from cellgennet_qupath.training.run_folder import prepare_run, with_checksum
from cellgennet_qupath.training.slide_windows import SlideWindow, WindowCache
from tests.helpers import Recorder, annotation

CONFIG = Config(pseudo=PseudoConfig(tile=128, tiles=6), student=StudentConfig(patch=128))


@dataclass
class Folder:
    """As much of a project as loading the training data needs."""

    path: Path
    entries: list[ImageEntry] = field(default_factory=list)
    drawn: dict[str, list[Annotation]] = field(default_factory=dict)
    detected: int = 0
    size: tuple[int, int] = (400, 300)

    def annotations(self, entry: ImageEntry) -> list[Annotation]:
        return self.drawn.get(entry.id, [])

    def image_type(self, entry: ImageEntry) -> str:
        return ""

    def counts(self, entry: ImageEntry) -> ObjectCounts:
        return ObjectCounts(annotations=len(self.annotations(entry)), detections=self.detected)

    def add(self, *annotations: Annotation, mpp: float | None = 0.25, seed: int | None = None) -> ImageEntry:
        number = str(len(self.entries) + 1)
        slide = self.path / f"{number}.png"
        rng = np.random.default_rng(100 + int(number) if seed is None else seed)
        image = np.clip(rng.normal((150, 90, 140), 25, (*self.size[::-1], 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(slide), image)
        pixel = None if mpp is None else (mpp, mpp)
        entry = ImageEntry(number, f"slide {number}", slide.as_uri(), slide, self.size, pixel)
        self.entries.append(entry)
        self.drawn[number] = list(annotations)
        return entry


def load(project: Folder, config: Config, mpp: float | None, reporter: Reporter) -> TrainingData:
    return load_training_data(cast(Project, project), config, mpp, reporter)


def region(x: int = 20, y: int = 30, path_class: str = "Training") -> list[Annotation]:
    discs = [shapely.Point(x + 20 + 25 * i, y + 25).buffer(8) for i in range(3)]
    return [annotation(shapely.box(x, y, x + 100, y + 60), path_class), *(annotation(disc) for disc in discs)]


def test_images_of_one_name_are_told_apart(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    project.add(*region())
    project.add(*region(path_class="Validation"))
    project.entries = [replace(entry, name="slide") for entry in project.entries]
    data = load(project, CONFIG, None, Silent())
    assert [window.source for window in [*data.training, *data.validation]] == [
        "slide (id 1)",
        "slide (id 2)",
    ]


def test_windows_hold_what_was_drawn(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    project.add(*region(), *region(200, 150, "Validation"))
    data = load(project, CONFIG, None, Silent())
    facts = data.describe()
    assert facts["training_nuclei"] == facts["validation_nuclei"] == 3
    assert facts["training_labelled_pixels"] == 100 * 60
    assert data.mpp == 0.25
    (window,) = data.training
    assert window.image.shape[:2] == window.known.shape
    assert window.known.sum() == 100 * 60


def test_unlabelled_tiles_exclude_what_is_labelled(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    project.add(*region(), *region(200, 150, "Validation"))
    data = load(project, CONFIG, None, Silent())
    tiles = [tile.read() for tile in data.tiles]
    assert 1 <= len(tiles) <= 6
    assert all(tile.image.shape == (128, 128, 3) for tile in tiles)
    assert any(tile.usable.any() for tile in tiles)
    assert not all(tile.usable.all() for tile in tiles)


def test_ignored_and_validation_areas_are_not_used_as_unlabelled_tissue(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    ignored = annotation(shapely.box(160, 20, 220, 60), "Ignore folds")
    project.add(*region(), *region(200, 150, "Validation"), ignored)
    everywhere = CONFIG.model_copy(update={"pseudo": PseudoConfig(tile=128, tiles=100)})
    usable = np.zeros((300, 400), bool)
    for tile in load(project, everywhere, None, Silent()).tiles:
        assert isinstance(tile, SlideTile)
        y, x = tile.box.y0, tile.box.x0
        usable[y : y + 128, x : x + 128] |= tile.read().usable
    assert not usable[20:60, 160:220].any()
    assert not usable[150:210, 200:300].any()
    assert not usable[30:90, 20:120].any()
    assert usable.sum() == 300 * 400 - 60 * 40 - 2 * 100 * 60


def test_the_same_seed_chooses_the_same_tiles(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    project.add(*region())
    first, again = (load(project, CONFIG, None, Silent()).tiles for _ in range(2))
    assert [cast(SlideTile, tile).box for tile in first] == [cast(SlideTile, tile).box for tile in again]


def test_without_validation_a_window_is_held_out_and_reported(tmp_path: Path) -> None:
    project, listener = Folder(tmp_path), Recorder()
    project.add(*region())
    project.add(*region(), seed=1)
    data = load(project, CONFIG, None, listener)
    assert len(data.training) == len(data.validation) == 1
    assert data.training[0].source != data.validation[0].source
    assert any("held out" in line for line in listener.lines)


def test_a_single_window_validates_itself_and_the_user_is_warned(tmp_path: Path) -> None:
    project, listener = Folder(tmp_path), Recorder()
    project.add(*region())
    data = load(project, CONFIG, None, listener)
    assert data.validation == data.training
    assert any("say little" in line for line in listener.lines)


def test_nothing_to_train_on(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    project.add(annotation(shapely.box(1, 1, 20, 20), "Stroma"))
    with pytest.raises(SupervisionError, match="no annotation to train on"):
        load(project, CONFIG, None, Silent())


def test_an_unreadable_slide_is_skipped_and_reported(tmp_path: Path) -> None:
    project, listener = Folder(tmp_path), Recorder()
    project.add(*region())
    broken = project.add(*region())
    assert broken.slide is not None
    broken.slide.write_bytes(b"no image")
    data = load(project, CONFIG, None, listener)
    assert data.describe()["images"] == 1
    assert any("Skipped" in line and "2.png" in line for line in listener.lines)


def test_an_uncalibrated_image_among_calibrated_ones_is_skipped_or_takes_the_option(tmp_path: Path) -> None:
    project, listener = Folder(tmp_path), Recorder()
    project.add(*region())
    project.add(*region(), mpp=None)
    assert load(project, CONFIG, None, listener).describe()["images"] == 1
    assert any("--mpp" in line for line in listener.lines)
    assert load(project, CONFIG, 0.25, Silent()).describe()["images"] == 2


def test_a_project_without_any_pixel_size_is_trained_at_full_resolution(tmp_path: Path) -> None:
    project, listener = Folder(tmp_path), Recorder()
    project.add(*region(), mpp=None)
    data = load(project, CONFIG, None, listener)
    assert data.mpp is None
    assert any("calibrated" in line for line in listener.lines)


def test_a_coarser_working_resolution_shrinks_the_windows(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    project.add(*region())
    coarse = load(project, CONFIG.model_copy(update={"mpp": 0.5}), None, Silent())
    assert coarse.describe()["training_labelled_pixels"] == 50 * 30


def test_a_working_resolution_needs_a_pixel_size(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    project.add(*region(), mpp=None)
    with pytest.raises(SupervisionError, match="can be used"):
        load(project, CONFIG.model_copy(update={"mpp": 0.5}), None, Silent())


def test_windows_are_read_when_needed_and_few_are_kept(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    project.add(*region())
    project.add(*region(200, 150), seed=1)
    data = load(project, CONFIG, None, Silent())
    (first,), (second,) = data.training, data.validation
    assert isinstance(first, SlideWindow)
    assert isinstance(second, SlideWindow)
    cache = WindowCache(limit=1)
    small = [SlideWindow(w.slide, w.split, w.where, cache) for w in (first, second)]
    for window, kept in zip((first, second, first), (*small, small[0]), strict=True):
        np.testing.assert_array_equal(window.image, kept.image)
        np.testing.assert_array_equal(window.labels.objects, kept.labels.objects)
        assert len(cache) == 1
    image, labels = first.part(slice(70, 90), slice(80, 100))
    np.testing.assert_array_equal(image, first.image[70:90, 80:100])
    np.testing.assert_array_equal(labels.foreground, first.labels.foreground[70:90, 80:100])


def test_patches_of_a_slide_are_those_of_the_same_window_in_memory(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    project.add(*region(), *region(200, 150))
    windows = load(project, CONFIG, None, Silent()).training
    in_memory = [
        LabelledWindow(w.image, w.labels, Rectangle(0, 0, *w.shape[::-1]), Split.TRAINING, w.source)
        for w in windows
    ]
    for one, two in zip(
        PatchSampler(windows, 96).draw(generator(1, "t", 0), 20),
        PatchSampler(in_memory, 96).draw(generator(1, "t", 0), 20),
        strict=True,
    ):
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.objects, two.objects)
        np.testing.assert_array_equal(one.foreground, two.foreground)


def test_findings_are_reported_before_training(tmp_path: Path) -> None:
    project, listener = Folder(tmp_path, detected=12), Recorder()
    project.add(
        *region(), annotation(shapely.box(200, 150, 300, 210), "training"), *region(220, 30, "Validation")[:1]
    )
    load(project, CONFIG, None, listener)
    assert any('slide 1: 1 annotation has the class "training"' in line for line in listener.warnings)
    assert any("12 detections" in line and "Validation" in line for line in listener.warnings)


@pytest.mark.parametrize(
    "drawn",
    [
        region()[:1],
        [
            annotation(shapely.transform(one.geometry, lambda xy: xy + 1000), one.path_class)
            for one in region()
        ],
        [region()[0], *[annotation(one.geometry, "Tumor") for one in region()[1:]]],
        [annotation(shapely.box(0, 0, 300, 300), "Background"), annotation(shapely.box(10, 10, 90, 90))],
        [annotation(one.geometry, one.path_class.lower()) for one in region()],
        [region()[0], annotation(shapely.box(0, 0, 399, 299))],
    ],
    ids=["no outline", "off the image", "another class", "background alone", "lower case", "tissue alone"],
)
def test_without_a_nucleus_training_does_not_begin(tmp_path: Path, drawn: list[Annotation]) -> None:
    project = Folder(tmp_path)
    project.add(*drawn)
    with pytest.raises(SupervisionError, match="nucleus to train on") as error:
        load(project, CONFIG, None, Silent())
    assert "\n" not in str(error.value)


def test_validation_inside_training_is_not_trained_on(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    discs = [annotation(shapely.Point(40 + 40 * i, 60).buffer(8)) for i in range(8)]
    inner = annotation(shapely.box(140, 30, 260, 100), "Validation")
    project.add(annotation(shapely.box(20, 20, 360, 120), "Training"), inner, *discs)
    data = load(project, CONFIG, None, Silent())
    facts = data.describe()
    assert (facts["training_nuclei"], facts["validation_nuclei"]) == (5, 3)
    (window,) = data.training
    assert isinstance(window, SlideWindow)
    x, y = 140 - window.where.box.x0, 30 - window.where.box.y0
    assert not window.known[y : y + 70, x : x + 120].any()


@pytest.mark.parametrize("split", ["Validation", "Training"])
def test_nuclei_of_a_divided_region_are_counted_once(tmp_path: Path, split: str) -> None:
    """Its windows overlap by their margins: for validation each knows only what belongs to it."""
    discs = [shapely.Point(40 + 60 * i, 40 + 60 * j).buffer(9) for i in range(22) for j in range(4)]
    project = Folder(tmp_path, size=(1400, 300))
    project.add(annotation(shapely.box(5, 5, 1395, 295), split), *map(annotation, discs))
    project.add(*region())
    data = load(project, CONFIG, None, Silent())
    windows = [window for window in (*data.training, *data.validation) if window.source == "slide 1"]
    assert len(windows) == 3 and len({window.place for window in windows}) == 1
    assert sum(window.n_nuclei for window in windows) == len(discs)
    if split == "Validation":
        shown = [len(np.unique(w.labels.objects[w.labels.objects > 0])) for w in windows]
        assert shown == [window.n_nuclei for window in windows]


def test_windows_of_median_size_are_held_out_and_few_of_them(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    for count in (1, 3, 2):
        project.add(*region()[: 1 + count])
    assert [window.n_nuclei for window in load(project, CONFIG, None, Silent()).validation] == [2]
    windows = [Counted(number % 7 + 1) for number in range(100)]
    held_out = windows_to_hold_out(windows)
    assert 4 <= len(held_out) <= 8
    assert min(windows[i].n_nuclei for i in held_out) >= 4


@dataclass(frozen=True)
class Counted:
    """As much of a window as the choice of windows to hold out needs."""

    n_nuclei: int
    source: str = "slide"


def test_a_run_is_not_resumed_where_unlabelled_tissue_changed(tmp_path: Path) -> None:
    """What is ignored since lies in no labelled window, but may have been learnt from."""
    project = Folder(tmp_path)
    project.add(*region())
    folder = tmp_path / "run"
    prepare_run(folder, load(project, CONFIG, None, Silent()), CONFIG, False, Silent())
    prepare_run(folder, load(project, CONFIG, None, Silent()), CONFIG, True, Silent())
    project.drawn["1"].append(annotation(shapely.box(250, 200, 390, 290), "Ignore*"))
    changed = load(project, CONFIG, None, Silent())
    assert changed.tiles, "there is unlabelled tissue"
    with pytest.raises(TrainingError, match="annotations, images or settings changed"):
        prepare_run(folder, changed, CONFIG, True, Silent())
    project.drawn["1"].pop()
    project.add()
    with pytest.raises(TrainingError, match="annotations, images or settings changed"):
        prepare_run(folder, load(project, CONFIG, None, Silent()), CONFIG, True, Silent())


def test_a_record_of_an_earlier_version_is_resumed(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    project.add(*region())
    data, record = load(project, CONFIG, None, Silent()), tmp_path / "run" / "run.yaml"
    prepare_run(record.parent, data, CONFIG, False, Silent())
    content = yaml.safe_load(record.read_text(encoding="utf-8"))
    del content["unlabelled"], content["sha256"]
    record.write_text(yaml.safe_dump(with_checksum(content)), encoding="utf-8")
    (record.parent / "kept").touch()
    prepare_run(record.parent, data, CONFIG, True, Silent())
    assert (record.parent / "kept").is_file()


@pytest.mark.parametrize("margin", [None, (0, 0, 0), (255, 255, 255), (120, 120, 120)])
def test_networks_see_beyond_edges_and_margins_what_they_see_in_segment(
    tmp_path: Path, margin: tuple[int, int, int] | None
) -> None:
    """The mirror image. White beside tissue looked like glass, and was learnt as background of it."""
    project = Folder(tmp_path)
    entry = project.add(*region(5, 5), annotation(shapely.box(0, 0, 360, 200), "Training"))
    wide = 0 if margin is None else 100
    if margin is not None:
        picture = cv2.imread(str(entry.slide))
        assert picture is not None
        picture[:, :wide] = margin
        cv2.imwrite(str(entry.slide), picture)
        project.drawn["1"] = [*region(120, 5), project.drawn["1"][-1]]
    data = load(project, CONFIG, None, Silent())
    (window,) = cast(list[SlideWindow], data.training)
    box, slide = window.where.box, window.slide
    with open_image(entry) as reader:
        pixels = reader.read_grid(box.x0, box.y0, box.columns, box.rows, slide.downsample)
    seen, _ = slide.normalisation.seen(pixels, (box.x0, box.y0), (400, 300), slide.downsample)
    np.testing.assert_array_equal(window.image, seen)
    beside, within = window.image[80:200, : wide - box.x0], window.image[80:200, wide - box.x0 :]
    assert abs(beside.mean() - within.mean()) < 0.1
    assert not window.known[:, : wide - box.x0].any(), "nothing is known of what is not there"
    assert window.known[-box.y0 : 200 - box.y0, wide - box.x0 : 360 - box.x0].all()
    tiles = [cast(SlideTile, tile).read() for tile in data.tiles]
    assert all(abs(tile.image.mean() - within.mean()) < 0.15 for tile in tiles)
