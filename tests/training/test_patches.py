"""Patches and targets: labelled, repeatable, and in register with their window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellgennet_qupath.annotations.labels import UNKNOWN, LabelRasters, Split
from cellgennet_qupath.annotations.windows import LabelledWindow
from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.training.patches import PatchSampler, generator, recolour, renumbered
from cellgennet_qupath.training.targets import SOFT_SHARE, objectness, student_targets, touching


def window(size: int = 200) -> LabelledWindow:
    objects = np.full((size, size), UNKNOWN, np.int32)
    objects[60:140, 60:140] = 0
    objects[80:100, 80:100] = 1
    # The red channel carries the foreground, so that image and labels can be compared after warping.
    image = np.zeros((size, size, 3), np.float32)
    image[80:100, 80:100, 0] = 1
    foreground = np.where(objects == UNKNOWN, UNKNOWN, objects > 0).astype(np.int8)
    return LabelledWindow(
        image,
        LabelRasters(objects, foreground, np.zeros(objects.shape, bool)),
        Rectangle(0, 0, size, size),
        Split.TRAINING,
        "w",
    )


def test_every_patch_holds_labelled_pixels() -> None:
    for patch in PatchSampler([window()], 64).draw(generator(1, "t", 0), 100):
        assert (patch.foreground != UNKNOWN).any()


def test_image_and_labels_are_warped_alike() -> None:
    for patch in PatchSampler([window()], 96).draw(generator(2, "t", 0), 30):
        known = patch.foreground >= 0
        nucleus = patch.foreground == 1
        assert ((patch.image[..., 0] > 0.5) == nucleus)[known].mean() > 0.98


def test_soft_labels_are_warped_with_the_image() -> None:
    hard = window()
    soft = np.rint(np.stack([hard.image[..., 0], 0.4 * hard.image[..., 0]], axis=-1) * 255).astype(np.uint8)
    taught = replace(hard, labels=replace(hard.labels, soft=soft))
    # OpenCV rounds positions to a 32nd of a sample where there are two channels.
    for patch in PatchSampler([taught], 96).draw(generator(2, "t", 0), 10):
        assert patch.soft is not None
        np.testing.assert_allclose(patch.soft[..., 0], patch.image[..., 0], atol=0.04)
        np.testing.assert_allclose(patch.soft[..., 1], 0.4 * patch.image[..., 0], atol=0.04)


def test_a_student_learns_the_mean_of_labels_and_soft_labels_where_labels_are_known() -> None:
    drawn = PatchSampler([window()], 96).draw(generator(2, "t", 0), 1)[0]
    hard = student_targets(drawn)
    np.testing.assert_array_equal(hard[..., 0], drawn.foreground)
    np.testing.assert_array_equal(hard[..., 1], objectness(drawn.objects))
    soft = np.full((96, 96, 2), 0.25, np.float32)
    mixed = student_targets(replace(drawn, soft=soft))
    known = hard >= 0
    np.testing.assert_allclose(mixed[known], ((1 - SOFT_SHARE) * hard + SOFT_SHARE * soft)[known], atol=1e-6)
    assert (mixed[~known] == UNKNOWN).all()


def test_outside_the_window_is_unknown() -> None:
    patch = PatchSampler([window(150)], 400).draw(generator(3, "t", 0), 1)[0]
    assert (patch.objects == UNKNOWN).mean() > 0.5


def test_the_same_step_draws_the_same() -> None:
    sampler = PatchSampler([window()], 64)
    first = sampler.draw(generator(5, "t", 7), 2)
    again = sampler.draw(generator(5, "t", 7), 2)
    other = sampler.draw(generator(5, "t", 8), 2)
    assert all((a.image == b.image).all() for a, b in zip(first, again, strict=True))
    assert not all((a.image == b.image).all() for a, b in zip(first, other, strict=True))


def test_nothing_labelled_is_refused() -> None:
    blank = window()
    blank.labels.foreground[:] = UNKNOWN
    with pytest.raises(ValueError, match="labelled"):
        PatchSampler([blank], 64)


def test_objectness_is_the_normalised_distance_to_the_border() -> None:
    objects = np.zeros((9, 9), np.int32)
    objects[2:7, 2:7] = 4
    objects[0, 0] = UNKNOWN
    out = objectness(objects)
    assert out[4, 4] == 1
    assert out[2, 2] == pytest.approx(1 / 3)
    assert out[3, 4] == pytest.approx(2 / 3)
    assert out[0, 0] == -1
    assert out[8, 8] == 0


def test_touching_is_where_two_nuclei_are_near() -> None:
    objects = np.zeros((20, 40), np.int32)
    objects[5:15, 2:10] = 7
    objects[5:15, 11:19] = 3
    objects[5:15, 30:36] = 9
    objects[:3] = UNKNOWN
    out = touching(objects, reach=2)
    assert out.dtype == np.bool_
    rows, columns = np.nonzero(out)
    # Within 2 of the one, whose last column is 9, and of the other, whose first is 11.
    assert (columns.min(), columns.max()) == (9, 11)
    assert (rows.min(), rows.max()) == (3, 16)
    assert not touching(np.where(objects == 7, objects, 0), 3).any()
    assert not touching(np.zeros((8, 8), np.int32), 3).any()


def test_recolouring_keeps_shape_and_range_and_moves_colours() -> None:
    image = np.random.default_rng(0).random((32, 32, 3), dtype=np.float32)
    out = recolour(image, generator(0, "t", 0))
    assert out.shape == image.shape
    assert out.dtype == np.float32
    assert out.min() >= -0.5
    assert out.max() <= 1.5
    assert np.abs(out - image).mean() > 0.01


def test_labels_above_16_bits_give_the_same_targets() -> None:
    objects = np.full((64, 64), UNKNOWN, np.int32)
    objects[4:60, 4:60] = 0
    objects[10:20, 10:20], objects[30:50, 30:40] = 1, 2
    high = np.where(objects > 0, objects * 65_536, objects).astype(np.int32)
    assert np.array_equal(renumbered(high), objects)
    assert np.array_equal(renumbered(objects), objects)
    assert np.array_equal(objectness(renumbered(high)), objectness(objects))
    empty = np.zeros((4, 4), np.int32)
    assert np.array_equal(renumbered(empty), empty)


def test_object_probability_by_hand_and_the_same_in_every_repetition() -> None:
    objects = np.zeros((9, 9), np.int32)
    objects[2:7, 2:7] = 1
    objects[2:7, 7:9] = 2  # touches it
    first = objectness(objects)
    assert first[4, 4] == 1 and first[2, 2] == np.float32(1 / 3) and first[4, 3] == np.float32(2 / 3)
    assert all(np.array_equal(objectness(objects), first) for _ in range(20))
