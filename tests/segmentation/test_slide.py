"""Tiles to nuclei: none twice, none cut, none lost, whatever the tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.segmentation.assemble import SlideNuclei, TileNuclei
from cellgennet_qupath.segmentation.blocks import block_grid, fitting_block
from cellgennet_qupath.segmentation.plan import Area, plan_tiles
from cellgennet_qupath.segmentation.slide import segment_slide
from cellgennet_qupath.slides.tissue import TissueMask

from .fakes import ColourReader, Disc, Paper, draw, task


def run(
    image: NDArray[np.uint8], tile: int, area: Area | None = None, seed: int | None = None
) -> SlideNuclei:
    one, tiles = task(image, tile, area)
    if seed is not None:
        np.random.default_rng(seed).shuffle(tiles)
    return segment_slide(one, tiles)


def as_rows(found: SlideNuclei) -> list[tuple[object, ...]]:
    nuclei = found.nuclei
    return [
        (outline.wkb, float(probability), identifier, *measured)
        for outline, probability, identifier, measured in zip(
            nuclei.polygons,
            nuclei.probability,
            nuclei.ids,
            nuclei.measurements.itertuples(index=False, name=None),
            strict=True,
        )
    ]


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    width=st.integers(1, 420),
    height=st.integers(1, 300),
    tile=st.sampled_from([32, 64, 100, 256]),
    crowd=st.integers(0, 120),
)
def test_no_result_depends_on_the_tiles(seed: int, width: int, height: int, tile: int, crowd: int) -> None:
    generator = np.random.default_rng(seed)
    discs: list[Disc] = [
        (generator.uniform(-5, width + 5), generator.uniform(-5, height + 5), generator.uniform(4, 14))
        for _ in range(crowd)
    ]
    image = draw(width, height, discs)
    assert as_rows(run(image, tile, seed=seed)) == as_rows(run(image, 1024))


@pytest.mark.parametrize("tile", [64, 256, 384, 1024])
def test_every_nucleus_once_and_whole(tile: int) -> None:
    generator = np.random.default_rng(3)
    discs: list[Disc] = [
        (
            40 * column + generator.uniform(17, 23),
            40 * row + generator.uniform(17, 23),
            generator.uniform(7, 14),
        )
        for row in range(12)
        for column in range(15)
    ]
    found = run(draw(600, 480, discs), tile).nuclei
    assert len(found) == len(discs)
    truth = shapely.buffer(shapely.points(np.array(discs)[:, :2]), np.array(discs)[:, 2], quad_segs=32)
    nearest = shapely.STRtree(truth).nearest(shapely.centroid(found.polygons))
    assert len(set(nearest)) == len(discs)
    matched = truth[nearest]
    iou = shapely.area(shapely.intersection(found.polygons, matched)) / shapely.area(
        shapely.union(found.polygons, matched)
    )
    assert iou.min() > 0.8
    assert (shapely.area(found.polygons) / shapely.area(matched)).mean() == pytest.approx(1, abs=0.03)
    shift = shapely.get_coordinates(shapely.centroid(found.polygons)) - shapely.get_coordinates(
        shapely.centroid(matched)
    )
    assert np.abs(shift.mean(axis=0)).max() < 0.1
    assert (found.probability > 0.6).all()
    assert found.measurements["Area µm^2"].to_numpy() == pytest.approx(
        shapely.area(found.polygons) / 16, rel=1e-9
    )


def test_nuclei_at_the_edge_of_the_image_are_cut_there_and_kept() -> None:
    width, height = 201, 151
    discs: list[Disc] = [(0, 0, 12), (201, 75, 12), (100, 151, 12), (100, 0, 12), (201, 151, 12)]
    found = segment_slide(*task(draw(width, height, discs), 64, mean_foreground=0.5)).nuclei
    assert len(found) == len(discs)
    bounds = shapely.bounds(found.polygons)
    assert bounds.min() >= 0
    assert bounds[:, 2].max() == width
    assert bounds[:, 3].max() == height
    share = shapely.area(found.polygons) / (np.pi * 144)
    assert sorted(share) == pytest.approx([0.25, 0.25, 0.5, 0.5, 0.5], abs=0.06)
    assert shapely.is_valid(found.polygons).all()


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (1, 1), (3, 2)])
def test_thin_images(size: tuple[int, int]) -> None:
    width, height = size
    assert len(run(draw(width, height, []), 64).nuclei) == 0
    inked = np.zeros((height, width, 3), np.uint8)
    for outline in run(inked, 64).nuclei.polygons:
        x0, y0, x1, y1 = outline.bounds
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


def test_off_the_tissue_nothing_is_read_or_segmented() -> None:
    discs: list[Disc] = [(x, 50.0, 10.0) for x in range(30, 600, 60)]
    image = draw(600, 100, discs)
    mask = np.zeros((1, 6), bool)
    mask[0, 1:3] = True  # x from 100 to 300
    area = Area(TissueMask(mask, 100.0))
    one, tiles = task(image, 64, area)
    found = segment_slide(one, tiles)
    assert 0 < len(tiles) < len(task(image, 64)[1])
    centres = sorted(outline.centroid.x for outline in found.nuclei.polygons)
    assert centres == pytest.approx([150, 210, 270], abs=1)
    for tile in (32, 256, 1024):
        assert as_rows(run(image, tile, area)) == as_rows(found)


def test_within_a_geometry() -> None:
    image = draw(300, 100, [(50, 50, 10), (150, 50, 10), (250, 50, 10)])
    area = Area(TissueMask(np.ones((1, 1), bool), 300.0), shapely.box(100, 0, 252, 100))
    for tile in (64, 1024):
        centres = [outline.centroid.x for outline in run(image, tile, area).nuclei.polygons]
        assert sorted(centres) == pytest.approx([150, 250], abs=1)


def test_finished_tiles_are_not_done_again() -> None:
    image = draw(300, 200, [(50, 50, 10), (150, 50, 10), (250, 150, 10)])
    one, tiles = task(image, 64)
    assert isinstance(one.pixels, Paper)
    store: dict[int, TileNuclei] = {}
    first = segment_slide(one, tiles[:5], store)
    assert sorted(store) == [tile.index for tile in tiles[:5]]
    before = one.pixels.reads
    whole = segment_slide(one, tiles, store)
    assert one.pixels.reads > before
    assert len(first.nuclei) < len(whole.nuclei) == 3
    before = one.pixels.reads
    assert as_rows(segment_slide(one, tiles, store)) == as_rows(whole)
    assert one.pixels.reads == before


def test_the_network_sees_each_block_once() -> None:
    one, tiles = task(draw(500, 400, []), 32)
    segment_slide(one, tiles)
    assert isinstance(one.pixels, Paper)
    assert isinstance(one.model.predictor, ColourReader)
    grid = block_grid(one)
    assert grid.core == (96, 80)
    assert one.model.predictor.calls == one.pixels.reads == 6 * 5


def test_an_empty_slide_has_all_columns_and_says_how_near_it_came() -> None:
    found = run(draw(100, 100, []), 64)
    assert len(found.nuclei) == 0
    assert "Area µm^2" in found.nuclei.measurements.columns
    assert found.highest < 0.1
    assert run(draw(100, 100, [(50, 50, 10)]), 64).highest > 0.8


def test_small_annotations_cost_their_own_area_and_change_no_nucleus() -> None:
    discs: list[Disc] = [(x, y, 8.0) for x in range(20, 2400, 60) for y in range(20, 2400, 60)]
    image = draw(2400, 2400, discs)
    wanted = shapely.union_all([shapely.box(x, y, x + 60, y + 60) for x in (100, 1700) for y in (110, 1870)])
    whole = Area(TissueMask(np.ones((1, 1), bool), 2400.0))
    area = Area(whole.tissue, wanted)
    one, _ = task(image, 128, whole)
    large = replace(one.model, block=1024)
    everywhere = replace(one, model=large)
    within = replace(one, model=large, area=area)
    assert fitting_block(everywhere) == 1024
    assert fitting_block(replace(within, area=Area(whole.tissue, shapely.box(0, 0, 2400, 2400)))) == 1024
    block = fitting_block(within)
    assert block < 1024
    found, seen = [], []
    for side in (block, 1024):
        predictor = Counting()
        asked = replace(within, model=replace(large, block=side, predictor=predictor))
        tiles = plan_tiles(2400, 2400, 1.0, asked.model, area, side)
        found.append(as_rows(segment_slide(asked, tiles)))
        seen.append(predictor.pixels)
    assert found[0] == found[1]
    assert len(found[0]) >= 4
    assert seen[0] < 0.6 * seen[1]


@dataclass
class Counting(ColourReader):
    """Counts the pixels that the network sees."""

    pixels: int = 0

    def predict(self, images: NDArray[np.float32], rim: int = 0) -> NDArray[np.float32]:
        self.pixels += images[..., 0].size
        return super().predict(images, rim)


@pytest.mark.parametrize("margin", [(2, 0), (12, 30), (60, 46), (0, 100)], ids=str)
@pytest.mark.parametrize("tile", [64, 1024])
def test_a_margin_moves_nuclei_and_changes_none(margin: tuple[int, int], tile: int) -> None:
    # Whole samples of the maps: what lies between them is another sampling of the picture.
    x, y = margin
    generator = np.random.default_rng(7)
    # Whole nuclei: at the picture's edge the image's edge cuts outlines off, a margin does not.
    discs: list[Disc] = [(*generator.uniform(16, 184, 2), generator.uniform(5, 12)) for _ in range(60)]
    picture = draw(200, 200, discs)
    framed = np.zeros((200 + y, 200 + x, 3), np.uint8)
    framed[y:, x:] = picture
    one, tiles = task(framed, tile)
    part = Rectangle(x, y, x + 200, y + 200)
    found = segment_slide(replace(one, normalisation=replace(one.normalisation, part=part)), tiles).nuclei
    alone = run(picture, tile).nuclei
    assert len(alone) > 20
    assert found.probability.tolist() == alone.probability.tolist()
    moved = shapely.transform(alone.polygons, lambda at: at + np.array(margin))
    assert shapely.equals_exact(found.polygons, moved, tolerance=0.01).all()
