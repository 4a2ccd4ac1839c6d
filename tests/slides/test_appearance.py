"""Stains unlike H&E are named; H&E of any tint is not."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cellgennet_qupath.slides.appearance import Colours, unlike_h_and_e

HEMATOXYLIN, EOSIN, DAB = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)


def stained(white: int = 240, **amounts: tuple[tuple[float, float, float], float, float]) -> Colours:
    """Colours of a tissue: for each stain its vector, optical density, and share of the pixels."""
    rng = np.random.default_rng(0)
    density = np.zeros((60_000, 3))
    for vector, strength, share in amounts.values():
        present = rng.random((len(density), 1)) < share
        density += present * rng.normal(strength, strength / 8, (len(density), 1)).clip(0) * np.array(vector)
    pixels = white * 10.0**-density + rng.normal(0, 3, density.shape)
    colours = Colours()
    colours.add(np.clip(pixels, 0, 255).astype(np.uint8))
    return colours


H = (HEMATOXYLIN, 0.8, 0.25)


@pytest.mark.parametrize(
    "colours",
    [
        stained(h=H, e=(EOSIN, 0.35, 0.8)),
        stained(white=160, h=H, e=(EOSIN, 0.5, 0.9)),
        stained(h=(HEMATOXYLIN, 1.2, 0.6), e=(EOSIN, 0.1, 0.3)),
        stained(h=(HEMATOXYLIN, 0.5, 0.4)),
        stained(e=(EOSIN, 0.6, 1.0)),
        Colours(),
    ],
    ids=["H&E", "dim", "lymphoid", "hematoxylin alone", "muscle", "nothing"],
)
def test_hematoxylin_and_eosin_are_recognised(colours: Colours) -> None:
    assert colours.unlike_h_and_e() == ""


@pytest.mark.parametrize(
    ("colours", "word"),
    [
        (stained(h=H, d=(DAB, 1.2, 0.1)), "DAB"),
        (stained(h=(HEMATOXYLIN, 0.3, 0.3), d=(DAB, 0.8, 0.3)), "DAB"),
        (stained(white=170, h=H, d=(DAB, 1.0, 0.06)), "DAB"),
        (stained(m=((0.87, 0.46, 0.16), 0.7, 0.4)), "blue or green"),
        (stained(m=((0.98, 0.14, 0.13), 0.9, 0.2)), "blue or green"),
    ],
    ids=["nuclear", "strong", "dim", "Alcian blue", "methyl green"],
)
def test_other_stains_are_named(colours: Colours, word: str) -> None:
    assert word in colours.unlike_h_and_e()


def test_a_greyscale_picture_is_named() -> None:
    colours = Colours()
    colours.add(np.repeat(np.random.default_rng(0).integers(60, 240, (9000, 1), dtype=np.uint8), 3, axis=1))
    assert "grey" in colours.unlike_h_and_e()


@pytest.mark.parametrize("channels", [(0,), (2,), (0, 1, 2)], ids=["red", "blue", "grey"])
def test_fluorescence_is_named(channels: tuple[int, ...]) -> None:
    image = np.full((200, 200, 3), 6, np.uint8)
    image[50:100, 50:120, channels] = 200
    colours = Colours()
    colours.add(image.reshape(-1, 3))
    assert "fluorescence" in colours.unlike_h_and_e()


def test_the_image_type_and_the_channels_count() -> None:
    he, dab = stained(h=H, e=(EOSIN, 0.35, 0.8)), stained(h=H, d=(DAB, 1.2, 0.1))
    assert unlike_h_and_e("BRIGHTFIELD_H_E", 3, he) == ""
    assert unlike_h_and_e("", 3, he) == ""
    assert "H-DAB" in unlike_h_and_e("BRIGHTFIELD_H_DAB", 3, he)
    assert "Fluorescence" in unlike_h_and_e("FLUORESCENCE", 3, he)
    assert "4 channels" in unlike_h_and_e("", 4, he)
    assert "DAB" in unlike_h_and_e("BRIGHTFIELD_H_E", 3, dab)


def test_no_real_h_and_e_is_suspected(shared: Path) -> None:
    data = shared / "data"
    with (data / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "train"]
    suspected = {}
    for row in rows:
        colours = Colours()
        colours.add(read(data / "nuclei" / row["dataset"] / "images" / row["file"]))
        reason = colours.unlike_h_and_e()
        if reason:
            suspected[row["file"]] = reason
    assert suspected == {}


def read(file: Path) -> NDArray[np.uint8]:
    """The pixels (n, 3) of a picture, RGB."""
    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture[..., ::-1], np.uint8).reshape(-1, 3)
