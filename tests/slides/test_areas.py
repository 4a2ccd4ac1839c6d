"""Fill, ink and burnt-in text: never tissue, and no tissue is taken for them."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
import tifffile
from numpy.typing import NDArray

from cellgennet_qupath.core.config import NormalisationConfig
from cellgennet_qupath.slides.areas import Area, Void, find_fill, find_ink, find_text
from cellgennet_qupath.slides.normalisation import Normalisation, estimate
from cellgennet_qupath.slides.reader import open_slide
from cellgennet_qupath.slides.tissue import TissueMask, tissue_mask
from cellgennet_qupath.slides.tissue_area import tissue_area

Image = NDArray[np.uint8]
UM = 1.0
GLASS = (243, 241, 244)


def tissue(side: int = 256, seed: int = 0) -> Image:
    """Eosin with nuclei and the noise of a camera; µm per pixel about 1."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), (214, 150, 190), np.float32)
    for x, y in rng.uniform(0, side, (side // 2, 2)):
        cv2.circle(image, (int(x), int(y)), 4, (95, 60, 140), -1)
    blurred = cv2.GaussianBlur(image, (0, 0), 0.8) + rng.normal(0, 5, image.shape)
    return np.clip(blurred, 0, 255).astype(np.uint8)


def on_glass(image: Image, border: int = 150) -> Image:
    height, width = image.shape[:2]
    rng = np.random.default_rng(9)
    whole = np.clip(
        np.array(GLASS) + rng.normal(0, 1.5, (height + 2 * border, width + 2 * border, 3)), 0, 255
    )
    whole[border : border + height, border : border + width] = image
    return whole.astype(np.uint8)


def save(path: Path, image: Image) -> Path:
    tifffile.imwrite(path, image, photometric="rgb", metadata=None)
    return path


def judged(tmp_path: Path, image: Image, mpp: float = 1.0) -> tuple[TissueMask, Normalisation]:
    with open_slide(save(tmp_path / "a.tif", image)) as reader:
        mask = tissue_mask(reader, mpp)
        return mask, estimate(reader, 1.0, NormalisationConfig(), mask)


def padded(image: Image, top: int, right: int, bottom: int, left: int, value: int | tuple[int, ...]) -> Image:
    colour = (value,) * 3 if isinstance(value, int) else value
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=colour)  # type: ignore[return-value]


MARGINS = {
    "all around": (64, 64, 64, 64),
    "uneven": (0, 37, 3, 101),
    "one side": (0, 0, 200, 0),
    "a line": (0, 5, 0, 0),
}


@pytest.mark.parametrize("margins", MARGINS.values(), ids=MARGINS)
@pytest.mark.parametrize("value", [0, 2, (128, 128, 128), (255, 0, 255)], ids=str)
def test_a_margin_without_data_changes_nothing_beside_it(
    tmp_path: Path, margins: tuple[int, int, int, int], value: int | tuple[int, ...]
) -> None:
    if isinstance(value, tuple) and margins == MARGINS["a line"]:
        pytest.skip("one line of a colour is too little to be recognised")
    image = tissue()
    plain, scale = judged(tmp_path, image)
    whole = padded(image, *margins, value)
    mask, normalisation = judged(tmp_path, whole)
    assert plain.share == 1.0
    assert np.abs(normalisation.low - scale.low).max() <= 1
    assert np.abs(normalisation.high - scale.high).max() <= 1
    top, left = margins[0], margins[3]
    inside = mask.window(left, top, 256, 256, 1.0)
    assert inside.mean() > 0.97
    outside = mask.window(0, 0, whole.shape[1], whole.shape[0], 1.0)
    outside[top : top + 256, left : left + 256] = False
    assert outside.sum() <= 4 * mask.downsample * 256
    # The network sees white beyond the tissue, as beyond the edge of an image.
    seen = normalisation.apply(whole)
    border = np.ones(whole.shape[:2], bool)
    border[top : top + 256, left : left + 256] = False
    assert (seen[border] == seen[border].max(axis=0)).all()


def test_unscanned_holes_and_a_turned_field(tmp_path: Path) -> None:
    image = on_glass(tissue(400), 60)
    image[200:328, 150:278] = 0
    turned = cv2.warpAffine(image, cv2.getRotationMatrix2D((260, 260), 12, 1), (520, 520))
    for one in (image, np.asarray(turned, np.uint8)):
        mask, scale = judged(tmp_path, one)
        assert "fill" in mask.shares
        black = cv2.erode((one.max(axis=2) == 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        assert not mask.window(0, 0, 520, 520, 1.0)[black].any()
        assert scale.low.min() > 30


def test_a_black_image_has_no_tissue(tmp_path: Path) -> None:
    mask, _ = judged(tmp_path, np.zeros((300, 300, 3), np.uint8))
    assert mask.share == 0.0


@pytest.mark.parametrize("number", [40, 300, 900])
@pytest.mark.parametrize("background", [(0, 0, 0), (0, 10, 20), (5, 5, 5), (60, 60, 60)], ids=str)
def test_dark_between_bright_objects_is_not_fill(number: int, background: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(3)
    image = np.full((400, 400, 3), background, np.uint8)
    for x, y in rng.uniform(0, 400, (number, 2)):
        cv2.circle(image, (int(x), int(y)), 4, (20, 30, 220), -1)
    nothing = find_fill(image, UM)
    assert not nothing.samples.any()
    assert not find_ink(image, UM, nothing.samples).samples.any()
    assert not find_text(image, 1, (400, 400)).samples.any()


PENS = {
    "blue": (30, 60, 160),
    "dark blue": (25, 30, 100),
    "black": (20, 20, 25),
    "green": (20, 120, 60),
    "red": (205, 25, 35),
    "turquoise": (20, 140, 160),
}


@pytest.mark.parametrize("pen", PENS.values(), ids=PENS)
@pytest.mark.parametrize("width", [16, 60])
def test_ink_is_not_tissue_and_changes_nothing_beside_it(
    tmp_path: Path, pen: tuple[int, int, int], width: int
) -> None:
    image = on_glass(tissue(), 200)
    marked = image.copy()
    ring = np.array([[60, 70], [590, 50], [600, 580], [80, 600], [60, 70]], np.int32)
    cv2.polylines(marked, [ring], False, pen, width, cv2.LINE_AA)
    noise = np.random.default_rng(2).normal(0, 2, marked.shape)
    marked = np.where(marked == image, image, np.clip(marked + noise, 0, 255)).astype(np.uint8)
    plain, scale = judged(tmp_path, image)
    mask, normalisation = judged(tmp_path, marked)
    assert "ink" in mask.shares
    ink = np.abs(marked.astype(int) - image).max(axis=2) > 40
    assert not mask.window(0, 0, 656, 656, 1.0)[ink].any()
    field = mask.window(200, 200, 256, 256, 1.0)
    assert np.array_equal(field, plain.window(200, 200, 256, 256, 1.0))
    assert np.abs(normalisation.low - scale.low).max() <= 2
    assert np.abs(normalisation.high - scale.high).max() <= 2


def test_ink_across_tissue_takes_only_itself(tmp_path: Path) -> None:
    image = on_glass(tissue(500), 60)
    marked = image.copy()
    cv2.line(marked, (0, 300), (619, 330), (30, 60, 160), 12, cv2.LINE_AA)
    mask, _ = judged(tmp_path, marked)
    inside = mask.window(60, 60, 500, 500, 1.0)
    assert 0.9 < inside.mean() < 0.985


LIKE_INK = {
    "lymphoid": ((70, 45, 115), 12),
    "pyknotic": ((45, 25, 80), 10),
    "hemorrhage": ((175, 45, 70), 14),
    "red cells, even": ((190, 50, 90), 3),
    "melanin": ((60, 40, 28), 8),
    "DAB": ((120, 75, 40), 8),
    "muscle": ((225, 90, 140), 8),
}


@pytest.mark.parametrize(("colour", "noise"), LIKE_INK.values(), ids=LIKE_INK)
def test_tissue_of_strong_colours_stays(tmp_path: Path, colour: tuple[int, int, int], noise: float) -> None:
    image = on_glass(tissue(400), 60)
    rng = np.random.default_rng(1)
    image[150:380, 100:400] = np.clip(np.array(colour) + rng.normal(0, noise, (230, 300, 3)), 0, 255)
    mask, _ = judged(tmp_path, image)
    assert mask.shares == {}
    assert mask.window(60, 60, 400, 400, 1.0).all()


def test_granules_of_black_pigment_stay(tmp_path: Path) -> None:
    image = on_glass(tissue(400), 60)
    for x, y in np.random.default_rng(5).uniform(80, 420, (60, 2)):
        cv2.circle(image, (int(x), int(y)), 5, (22, 20, 22), -1)
    mask, _ = judged(tmp_path, image)
    assert mask.shares == {}


@pytest.mark.parametrize(
    "colour", [(0, 0, 0), (255, 255, 255), (255, 255, 0), (255, 0, 0), (0, 255, 0)], ids=str
)
def test_text_and_scale_bars_are_not_tissue(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    image = tissue(512)
    plain, scale = judged(tmp_path, image, 0.25)
    marked = image.copy()
    cv2.rectangle(marked, (350, 470), (490, 478), colour, -1)
    cv2.putText(marked, "50 um", (370, 460), cv2.FONT_HERSHEY_SIMPLEX, 1.0, colour, 3)
    mask, normalisation = judged(tmp_path, marked, 0.25)
    assert "text" in mask.shares
    drawn = (marked != image).any(axis=2)
    assert not mask.window(0, 0, 512, 512, 1.0)[drawn].any()
    assert mask.share > 0.9 * plain.share
    assert np.abs(normalisation.low - scale.low).max() <= 1
    assert np.abs(normalisation.high - scale.high).max() <= 1


def test_saturated_glass_is_not_text() -> None:
    rng = np.random.default_rng(0)
    image = np.clip(on_glass(tissue()).astype(float) + 14 + rng.normal(0, 3, (556, 556, 3)), 0, 255)
    assert not find_text(image.astype(np.uint8), 1, image.shape[:2]).samples.any()


def test_a_void_matches_its_colour_with_a_tolerance() -> None:
    pixels = np.array([[[0, 0, 0], [2, 0, 1], [3, 0, 0], [255, 255, 255]]], np.uint8)
    assert Void((0, 0, 0), 2).matches(pixels).tolist() == [[True, True, False, False]]
    assert Void((0, 0, 0), 2).matches(pixels[0]).tolist() == [True, True, False, False]
    assert Void((255, 255, 255), 1).matches(pixels).tolist() == [[False, False, False, True]]


def test_no_real_nuclei_are_lost(shared: Path) -> None:
    """At most 1 % of the pixels of the nuclei of any image for training."""
    data = shared / "data"
    with (data / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "train"]
    for row in rows[::3]:
        folder = data / "nuclei" / row["dataset"]
        image = read(folder / "images" / row["file"], cv2.IMREAD_COLOR)[..., ::-1].astype(np.uint8)
        nuclei = read(folder / "labels" / f"{Path(row['file']).stem}.png", cv2.IMREAD_UNCHANGED) > 0
        height, width = nuclei.shape
        for step in (2, 8):
            shape = (-(-height // step), -(-width // step))
            small = np.asarray(cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
            fill = find_fill(small, 0.25 * step)
            none = Area(np.zeros(shape, bool))
            text = find_text(image, step, shape) if step == 2 else none
            excluded = fill.samples | find_ink(small, 0.25 * step, fill.samples).samples | text.samples
            whole = np.kron(excluded, np.ones((step, step), bool))[:height, :width]
            assert (whole & nuclei).sum() <= 0.01 * nuclei.sum(), row["file"]


def read(file: Path, how: int) -> NDArray[np.integer]:
    picture = cv2.imread(str(file), how)
    assert picture is not None
    return np.asarray(picture)


@pytest.mark.parametrize("margins", MARGINS.values(), ids=MARGINS)
@pytest.mark.parametrize("value", [0, (128, 128, 128), (255, 0, 255)], ids=str)
def test_the_area_of_tissue_is_that_of_the_image_without_a_margin(
    tmp_path: Path, margins: tuple[int, int, int, int], value: int | tuple[int, ...]
) -> None:
    """Tissue ends where data do: it was measured 40 µm smaller all around."""
    if value and margins == MARGINS["a line"]:
        pytest.skip("one line of a colour is too little to be recognised")
    image = tissue()
    with open_slide(save(tmp_path / "a.tif", padded(image, *margins, value))) as reader:
        found = tissue_area(reader, 1.0).inside(shapely.box(0, 0, reader.width, reader.height))
    assert found == pytest.approx(image.shape[0] * image.shape[1], rel=0.03)


@pytest.mark.parametrize("gap", [0, 10, 30])
def test_glass_at_the_edge_of_an_image_is_no_tissue(tmp_path: Path, gap: int) -> None:
    """Tissue of 160 x 256 µm at or near the left edge; the image goes on to the right for long."""
    image = on_glass(tissue(), 150)[150:406, 150 - gap : 310]
    image = np.concatenate([image, on_glass(tissue(), 400)[:256, :300]], axis=1)
    with open_slide(save(tmp_path / "a.tif", image)) as reader:
        found = tissue_area(reader, 1.0).inside(shapely.box(0, 0, reader.width, reader.height))
    assert found == pytest.approx(160 * 256, rel=0.05)
