"""Synthetic H&E: from a tissue layout to pixels, by optical densities (Beer-Lambert law)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon as fill_polygon
from tissue import FINE, KINDS, Kind, Layout, Plane, neighbours, smooth_noise, vessel_depth

_PIGMENT = np.array([0.32, 0.60, 0.73])


def paint(layout: Layout) -> NDArray[np.uint8]:
    """The slide at full resolution: uint8 (rows, columns, 3)."""
    recipe = layout.recipe
    rng = np.random.default_rng([recipe.seed, 3])
    hematoxylin, eosin = _ground(layout, rng)
    _vessels(layout, rng, hematoxylin, eosin)
    _faint_shadows(layout, rng, hematoxylin)
    _nuclei(layout, rng, hematoxylin, eosin)
    pigment = _debris(layout, rng, hematoxylin)

    uneven = 1 + 0.10 * smooth_noise(rng, layout.x.shape, 90 / layout.step)
    vectors = np.array(recipe.stains)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    amounts = (
        (hematoxylin * uneven * recipe.strength[0], vectors[0]),
        (eosin * uneven * recipe.strength[1], vectors[1]),
        (pigment, _PIGMENT / np.linalg.norm(_PIGMENT)),
    )
    soft = 0.5 + 0.5 * np.tanh(1.5 * smooth_noise(rng, layout.x.shape, 70 / layout.step) - 1)
    image = np.empty((recipe.rows, recipe.columns, 3))
    for channel in range(3):
        density = sum(np.clip(amount, 0, None) * vector[channel] for amount, vector in amounts)
        light = recipe.white[channel] * 10 ** -np.asarray(density)
        sharp = ndimage.gaussian_filter(light, recipe.blur / layout.step)
        if recipe.patchy_focus:
            weight = recipe.patchy_focus * soft
            sharp = sharp * (1 - weight) + weight * ndimage.gaussian_filter(light, 1.1 / layout.step)
        image[..., channel] = sharp.reshape(recipe.rows, FINE, recipe.columns, FINE).mean(axis=(1, 3))
    grain = rng.normal(0, 1, image.shape)
    grain = 0.7 * grain + 0.6 * ndimage.gaussian_filter(grain, (0.8, 0.8, 0))
    return np.clip(np.rint(image + recipe.noise * grain * np.sqrt(image / 200)), 0, 255).astype(np.uint8)


def _ground(layout: Layout, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Hematoxylin and eosin of everything except the nuclei."""
    step, shape = layout.step, layout.x.shape
    coarse = smooth_noise(rng, shape, 14 / step)
    middle = smooth_noise(rng, shape, 2.5 / step)
    fine = smooth_noise(rng, shape, 0.7 / step)

    loose = smooth_noise(rng, shape, 30 / step)
    eosin = 0.26 + 0.11 * layout.fibre + 0.05 * coarse + 0.03 * fine
    clefts = 1 / (1 + np.exp(-(layout.fibre * 0.8 + 0.5 * middle + 0.5 * loose + 1.15) / 0.22))
    eosin = np.clip(eosin, 0.05, None) * (0.12 + 0.88 * clefts)
    hematoxylin = (0.035 + 0.012 * middle + 0.01 * fine) * (0.35 + 0.65 * clefts)

    bluish = np.clip(smooth_noise(rng, shape, 22 / step) - 1.1, 0, 1.2) * np.clip(
        1 + 0.35 * layout.fibre, 0, 2
    )
    hematoxylin = hematoxylin + 0.26 * bluish

    nearest, second = neighbours(layout)
    border = np.exp(-(((second - nearest) / 0.9) ** 2))
    cell = np.clip(1.15 - nearest / 18, 0.4, 1)

    nest_eosin = (0.24 + 0.05 * middle + 0.035 * fine) * cell * (1 - 0.35 * border)
    nest_hematoxylin = (0.12 + 0.03 * middle + 0.02 * fine) * cell
    eosin = _blend(eosin, nest_eosin, layout.nest)
    hematoxylin = _blend(hematoxylin, nest_hematoxylin, layout.nest)

    thin = np.exp(-nearest / 6)
    eosin = _blend(eosin, 0.10 + 0.12 * thin + 0.05 * middle + 0.03 * fine, 0.85 * layout.cluster)
    hematoxylin = _blend(hematoxylin, 0.05 + 0.05 * thin + 0.015 * fine, 0.85 * layout.cluster)

    depth = layout.gland_depth
    wall = np.clip((0.6 - depth) / 0.8, 0, 1)
    lumen = np.clip((-depth - 21 + 2.5 * middle) / 1.5, 0, 1)
    vacuoles = np.clip((smooth_noise(rng, shape, 2.2 / step) - 0.9) * 3, 0, 1)
    vacuoles = vacuoles * np.clip((-depth - 10) / 2, 0, 1) * (1 - lumen)
    wall_eosin = (0.23 + 0.04 * middle + 0.03 * fine) * (1 - 0.3 * border) * (1 - 0.8 * vacuoles)
    wall_hematoxylin = (0.12 + 0.03 * middle + 0.02 * fine) * (1 - 0.6 * vacuoles)
    eosin = _blend(eosin, wall_eosin, wall)
    hematoxylin = _blend(hematoxylin, wall_hematoxylin, wall)
    mucin = np.clip(smooth_noise(rng, shape, 9 / step), 0, 2)
    eosin = _blend(eosin, 0.012 + 0.03 * mucin, lumen)
    hematoxylin = _blend(hematoxylin, 0.012 + 0.06 * mucin * np.clip(1 + 0.4 * middle, 0, 2), lumen)
    eosin = eosin + 0.22 * np.exp(-(((depth - 1.4) / 0.8) ** 2))

    return hematoxylin * layout.tissue + 0.004, eosin * layout.tissue + 0.003


def _blend(below: Plane, above: Plane, weight: Plane) -> Plane:
    return below * (1 - weight) + above * weight


def _vessels(layout: Layout, rng: np.random.Generator, hematoxylin: Plane, eosin: Plane) -> None:
    """Small vessels with red blood cells, which are round and dense but contain no hematoxylin."""
    for vessel in layout.vessels:
        depth = vessel_depth(layout, vessel)
        inside = np.clip(-depth / 0.8 + 0.5, 0, 1)
        eosin += 0.25 * np.exp(-(((depth - 1.5) / 1.3) ** 2))
        eosin *= 1 - 0.93 * inside
        hematoxylin *= 1 - 0.8 * inside
        cx, cy, a, b, turn = vessel
        for _ in range(int(a * b / 6)):
            radius, phase = np.sqrt(rng.random()) * 0.78, rng.uniform(0, 2 * np.pi)
            u, v = a * radius * np.cos(phase), b * radius * np.sin(phase)
            x, y = cx + u * np.cos(turn) - v * np.sin(turn), cy + u * np.sin(turn) + v * np.cos(turn)
            window, distance = _around(layout, x, y, 5)
            size = rng.uniform(2.6, 3.3)
            disc = np.clip((size - distance) / 0.5 + 0.5, 0, 1)
            red = disc * rng.uniform(0.42, 0.62) * (0.75 + 0.25 * np.clip(distance / size, 0, 1))
            eosin[window] = np.maximum(eosin[window], red)


def _faint_shadows(layout: Layout, rng: np.random.Generator, hematoxylin: Plane) -> None:
    """Nuclei out of focus: too faint and shapeless to outline, so they are not in the truth."""
    for _ in range(int(layout.x[-1, -1] * layout.y[-1, -1] / 2200)):
        x, y = rng.uniform(0, layout.x[-1, -1]), rng.uniform(0, layout.y[-1, -1])
        window, distance = _around(layout, x, y, 14)
        hematoxylin[window] += (
            rng.uniform(0.03, 0.09) * np.exp(-((distance / rng.uniform(3, 5)) ** 2)) * (layout.tissue[window])
        )


def _nuclei(layout: Layout, rng: np.random.Generator, hematoxylin: Plane, eosin: Plane) -> None:
    step, shape = layout.step, layout.x.shape
    granules = smooth_noise(rng, shape, 0.42 / step)
    clumps = smooth_noise(rng, shape, 0.95 / step)
    for outline, name in zip(layout.outlines, layout.kinds, strict=True):
        points = outline * FINE
        x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int) - 3, 0)
        x1, y1 = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 3, (shape[1], shape[0]))
        window = np.s_[y0:y1, x0:x1]
        inside = np.zeros((y1 - y0, x1 - x0), bool)
        inside[fill_polygon(points[:, 1] - 0.5 - y0, points[:, 0] - 0.5 - x0, inside.shape)] = True
        amount = _nucleus(rng, KINDS[name], inside, step, granules[window], clumps[window])
        hematoxylin[window] = np.where(inside, amount, hematoxylin[window])
        eosin[window] = np.where(inside, 0.35 * eosin[window] + 0.045, eosin[window])


def _nucleus(
    rng: np.random.Generator,
    kind: Kind,
    inside: NDArray[np.bool_],
    step: float,
    granules: Plane,
    clumps: Plane,
) -> Plane:
    """Amount of hematoxylin in one nucleus, on its window."""
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] * step
    base = rng.uniform(*kind.density)
    texture = 1 + kind.grain * (0.6 * granules + 0.8 * clumps)
    amount = base * np.clip(texture, 0.35, None) * (1 + kind.rim * np.exp(-((depth / 0.6) ** 2)) * 2)
    if kind.rim > 0.2:
        amount *= 1 - 0.25 * np.clip(depth / 3, 0, 1)
    rows, columns = np.nonzero(depth > 1.1)
    for _ in range(rng.integers(0, kind.nucleoli + 1) if len(rows) else 0):
        pick = rng.integers(len(rows))
        y, x = np.ogrid[: inside.shape[0], : inside.shape[1]]
        distance = np.hypot(y - rows[pick], x - columns[pick]) * step
        amount = amount + rng.uniform(0.25, 0.45) * np.exp(-((distance / rng.uniform(0.6, 0.95)) ** 2))
    return amount


def _debris(layout: Layout, rng: np.random.Generator, hematoxylin: Plane) -> Plane:
    """Add dark debris, too small for nuclei, to hematoxylin; returns the amount of brown pigment."""
    pigment = np.zeros_like(hematoxylin)
    width, height = layout.x[-1, -1], layout.y[-1, -1]
    for _ in range(int(width * height / 4500)):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        for _ in range(rng.integers(1, 4)):
            window, distance = _around(layout, x + rng.normal(0, 1.6), y + rng.normal(0, 1.6), 4)
            size = rng.uniform(0.4, 1.0)
            hematoxylin[window] += (
                rng.uniform(0.4, 0.9) * np.clip((size - distance) / 0.4 + 0.5, 0, 1) * (layout.tissue[window])
            )
    for _ in range(int(width * height / 16000)):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        for _ in range(rng.integers(4, 16)):
            window, distance = _around(layout, x + rng.normal(0, 2.4), y + rng.normal(0, 2.4), 4)
            grain = np.clip((rng.uniform(0.3, 0.9) - distance) / 0.35 + 0.5, 0, 1) * layout.tissue[window]
            pigment[window] = np.maximum(pigment[window], rng.uniform(0.4, 0.9) * grain)
    return pigment


def _around(layout: Layout, x: float, y: float, reach: float) -> tuple[tuple[slice, slice], Plane]:
    """The window of fine samples around a point, and each sample's distance from it in µm."""
    reach_samples = int(reach / layout.step) + 1
    i, j = int(y / layout.step), int(x / layout.step)
    rows = slice(max(i - reach_samples, 0), max(i + reach_samples, 0))
    columns = slice(max(j - reach_samples, 0), max(j + reach_samples, 0))
    return (rows, columns), np.hypot(layout.x[rows, columns] - x, layout.y[rows, columns] - y)
