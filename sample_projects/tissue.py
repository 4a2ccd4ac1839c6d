"""Synthetic H&E: the positions of tissue compartments and nuclei (all lengths in µm).

Nothing here is taken from a real specimen. It imitates what makes nuclei easy or hard to detect: glands
with a layer of upright oval nuclei, crowded nests of large pale nuclei, dense small round lymphocytes, thin
spindle-shaped nuclei between fibres, and dark structures that mimic nuclei.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, spatial
from skimage.draw import polygon as fill_polygon

Plane = NDArray[np.float64]
FINE = 2
"""Slides are rendered at this many times their resolution, then averaged."""


@dataclass(frozen=True)
class Kind:
    """A kind of nucleus.

    length, width : mean diameters; spread : their relative standard deviation.
    density       : optical density of hematoxylin, lowest and highest.
    rim, grain    : relative darkness of the membrane, and strength of the chromatin texture.
    nucleoli      : maximum number; wobble : deviation from an ellipse.
    """

    length: float
    width: float
    spread: float
    density: tuple[float, float]
    rim: float
    grain: float
    nucleoli: int
    wobble: float


KINDS = {
    "lymphocyte": Kind(6.6, 6.0, 0.08, (0.62, 0.95), 0.0, 0.20, 0, 0.03),
    "gland": Kind(10.5, 6.6, 0.10, (0.40, 0.70), 0.15, 0.22, 1, 0.03),
    "tumour": Kind(12.0, 9.5, 0.16, (0.28, 0.58), 0.32, 0.26, 2, 0.05),
    "pale": Kind(10.5, 8.0, 0.12, (0.18, 0.31), 0.30, 0.25, 1, 0.04),
    "spindle": Kind(14.5, 3.6, 0.15, (0.42, 0.78), 0.05, 0.18, 0, 0.05),
}


@dataclass(frozen=True)
class Recipe:
    """The contents of one slide. ``mpp`` in µm; ``columns`` and ``rows`` at full resolution in pixels.

    glands, vessels : number of each; nests, clusters : fraction of the tissue in tumour nests and
    lymphocyte clusters; glass : fraction of the width, on the left, without tissue.
    stains          : unit vectors of hematoxylin and eosin; strength : factors on both.
    blur            : standard deviation of the optics in µm; patchy_focus : strength of locally added blur.
    """

    name: str
    seed: int
    mpp: float
    columns: int
    rows: int
    glands: int
    nests: float
    clusters: float
    vessels: int
    stains: tuple[tuple[float, float, float], tuple[float, float, float]]
    strength: tuple[float, float]
    white: tuple[float, float, float] = (244.0, 242.0, 246.0)
    glass: float = 0.0
    blur: float = 0.42
    patchy_focus: float = 0.0
    noise: float = 2.2


@dataclass
class Layout:
    """The tissue of a slide on the fine grid, as planes of the same shape, and its nuclei.

    outlines : polygon of each nucleus, (n, 2) x and y in full-resolution pixels.
    """

    recipe: Recipe
    x: Plane
    y: Plane
    tissue: Plane
    gland_depth: Plane
    nest: Plane
    cluster: Plane
    across: Plane
    fibre: Plane
    angle: Plane
    vessels: list[tuple[float, float, float, float, float]]
    outlines: list[NDArray[np.float64]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    @property
    def step(self) -> float:
        """µm per fine sample."""
        return self.recipe.mpp / FINE


def lay_out(recipe: Recipe) -> Layout:
    """Arrange the tissue of a slide and place its nuclei."""
    rng = np.random.default_rng([recipe.seed, 1])
    step = recipe.mpp / FINE
    shape = (recipe.rows * FINE, recipe.columns * FINE)
    y, x = (np.mgrid[: shape[0], : shape[1]] + 0.5) * step
    width, height = recipe.columns * recipe.mpp, recipe.rows * recipe.mpp

    border = recipe.glass * width + 14 * smooth_noise(rng, shape, 40 / step)
    border += 5 * smooth_noise(rng, shape, 9 / step)
    tissue = 1 / (1 + np.exp(-(x - border) / 0.9)) if recipe.glass else np.ones(shape)

    depth = np.full(shape, 99.0)
    centres: list[tuple[float, float, float]] = []
    for _ in range(4000):
        if len(centres) == recipe.glands:
            break
        radius = rng.uniform(30, 46)
        cx, cy = rng.uniform(0.05, 0.95) * width, rng.uniform(0.05, 0.95) * height
        if cx - 1.2 * radius < recipe.glass * width + 30:
            continue
        if all(np.hypot(cx - a, cy - b) > 1.12 * (radius + r) for a, b, r in centres):
            centres.append((cx, cy, radius))
            depth = np.minimum(depth, _gland_depth(rng, x - cx, y - cy, radius))
    outside_glands = ndimage.gaussian_filter((depth > 6).astype(float), 4 / step)

    nest = _upper_share(smooth_noise(rng, shape, 42 / step), recipe.nests, 0.12) * outside_glands * tissue
    cluster = _upper_share(smooth_noise(rng, shape, 26 / step), recipe.clusters, 0.25)
    cluster = cluster * outside_glands * tissue * (1 - nest)
    across, fibre, angle = _fibres(rng, x, y, step)

    vessels: list[tuple[float, float, float, float, float]] = []
    for _ in range(400):
        if len(vessels) == recipe.vessels:
            break
        cx, cy = rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height
        i, j = int(cy / step), int(cx / step)
        free = depth[i, j] > 26 and nest[i, j] < 0.1 and cluster[i, j] < 0.3 and tissue[i, j] > 0.99
        if free and all(np.hypot(cx - v[0], cy - v[1]) > 60 for v in vessels):
            vessels.append((cx, cy, rng.uniform(10, 18), rng.uniform(6, 10), rng.uniform(0, np.pi)))

    layout = Layout(recipe, x, y, tissue, depth, nest, cluster, across, fibre, angle, vessels)
    _place_nuclei(layout, np.random.default_rng([recipe.seed, 2]), centres)
    return layout


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Plane:
    """Noise of unit variance, smoothed by a Gaussian of ``sigma`` samples."""
    pad = [fft.next_fast_len(n + int(3 * sigma)) for n in shape]
    v, u = np.fft.fftfreq(pad[0])[:, None], np.fft.rfftfreq(pad[1])
    spectrum = fft.rfft2(rng.standard_normal(pad)) * np.exp(-2 * (np.pi * sigma) ** 2 * (u * u + v * v))
    noise: Plane = fft.irfft2(spectrum, pad)[: shape[0], : shape[1]]
    noise -= noise.mean()
    noise /= noise.std()
    return noise


def vessel_depth(layout: Layout, vessel: tuple[float, float, float, float, float]) -> Plane:
    """Approximate distance of each sample from a vessel's wall (negative inside)."""
    cx, cy, a, b, turn = vessel
    u = (layout.x - cx) * np.cos(turn) + (layout.y - cy) * np.sin(turn)
    v = -(layout.x - cx) * np.sin(turn) + (layout.y - cy) * np.cos(turn)
    reach: Plane = (np.hypot(u / a, v / b) - 1) * np.sqrt(a * b)
    return reach


def _gland_depth(rng: np.random.Generator, dx: Plane, dy: Plane, radius: float) -> Plane:
    """Approximate distance of each sample from a gland's border (negative inside)."""
    theta = np.arctan2(dy, dx)
    border = np.full(theta.shape, radius)
    for k, size in ((2, 0.16), (3, 0.09), (4, 0.05), (5, 0.03)):
        border += radius * size * rng.normal() * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
    outside: Plane = np.hypot(dx, dy) - np.maximum(border, 24.0)
    return outside


def _upper_share(noise: Plane, share: float, softness: float) -> Plane:
    """1 on about the given fraction of the plane where noise is highest, with soft borders."""
    if share <= 0:
        return np.zeros_like(noise)
    return 1 / (1 + np.exp(-(noise - np.quantile(noise, 1 - share)) / (softness * 0.25)))


def _fibres(rng: np.random.Generator, x: Plane, y: Plane, step: float) -> tuple[Plane, Plane, Plane]:
    """A wavy coordinate across the fibres, their texture of unit variance, and their direction."""
    turn = rng.uniform(0, np.pi)
    bend = 22 * smooth_noise(rng, x.shape, 55 / step) + 5 * smooth_noise(rng, x.shape, 18 / step)
    across = -x * np.sin(turn) + y * np.cos(turn) + bend
    along = x * np.cos(turn) + y * np.sin(turn)
    texture = np.zeros_like(x)
    for period, weight in ((1.6, 0.5), (3.5, 0.8), (8.0, 1.0), (20.0, 0.6)):
        lattice = ndimage.gaussian_filter(rng.standard_normal((256, 256)), 0.8, mode="wrap")
        at = np.stack([across / period, along / (period * 9)])
        layer = ndimage.map_coordinates(lattice, at, order=1, mode="grid-wrap")
        texture += weight * layer / layer.std()
    dy, dx = np.gradient(ndimage.gaussian_filter(across, 4 / step))
    return across, texture / texture.std(), np.arctan2(-dx, dy)


class _Ground:
    """The occupied pixels of the slide: nuclei may touch but never share a pixel."""

    def __init__(self, recipe: Recipe) -> None:
        self._taken = np.zeros((recipe.rows, recipe.columns), bool)

    def take(self, outline: NDArray[np.float64]) -> bool:
        """Occupy the pixels of an outline, if all are free and there are enough."""
        rows, columns = fill_polygon(outline[:, 1] - 0.5, outline[:, 0] - 0.5, self._taken.shape)
        if len(rows) < 12 or self._taken[rows, columns].any():
            return False
        self._taken[rows, columns] = True
        return True


def _place_nuclei(layout: Layout, rng: np.random.Generator, glands: list[tuple[float, float, float]]) -> None:
    ground = _Ground(layout.recipe)
    width, height = layout.x[-1, -1], layout.y[-1, -1]

    def at(plane: Plane, x: float, y: float) -> float:
        i = min(max(int(y / layout.step), 0), plane.shape[0] - 1)
        j = min(max(int(x / layout.step), 0), plane.shape[1] - 1)
        return float(plane[i, j])

    def put(kind: str, x: float, y: float, angle: float) -> bool:
        if at(layout.tissue, x, y) < 0.95:
            return False
        outline = _outline(rng, KINDS[kind], x, y, angle) / layout.recipe.mpp
        np.clip(outline[:, 0], 0, layout.recipe.columns, out=outline[:, 0])
        np.clip(outline[:, 1], 0, layout.recipe.rows, out=outline[:, 1])
        if not ground.take(outline):
            return False
        layout.outlines.append(outline)
        layout.kinds.append(kind)
        return True

    for cx, cy, a, b, turn in layout.vessels:
        for phase in np.linspace(0, 2 * np.pi, 7)[:-1] + rng.normal(0, 0.25, 6):
            u, v = (a + 1.5) * np.cos(phase), (b + 1.5) * np.sin(phase)
            tangent = np.arctan2(b * np.cos(phase), -a * np.sin(phase)) + turn
            put(
                "spindle",
                cx + u * np.cos(turn) - v * np.sin(turn),
                cy + u * np.sin(turn) + v * np.cos(turn),
                tangent,
            )

    slope_y, slope_x = np.gradient(ndimage.gaussian_filter(np.minimum(layout.gland_depth, 40), 2))
    for level, tries in ((-6.5, 1.3), (-12.5, 0.6)):
        for cx, cy, radius in glands:
            count = int(2 * np.pi * (radius + level) / 6.4 * tries)
            for theta in np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.normal(0, 0.035, count):
                reach = np.arange(8.0, 80.0, 0.5)
                depths = [
                    at(layout.gland_depth, cx + r * np.cos(theta), cy + r * np.sin(theta)) for r in reach
                ]
                r = float(reach[int(np.argmin(np.abs(np.array(depths) - level)))]) + rng.normal(0, 1.1)
                x, y = cx + r * np.cos(theta), cy + r * np.sin(theta)
                if not (0 < x < width and 0 < y < height):
                    continue
                upright = np.arctan2(at(slope_y, x, y), at(slope_x, x, y)) + rng.normal(0, 0.18)
                put("gland" if rng.random() > 0.15 else "pale", x, y, upright)

    area = width * height

    def scatter(
        tries: float, where: Callable[[float, float], float], kind: str, aligned: bool = False
    ) -> None:
        for _ in range(int(tries * area / 100)):
            x, y = rng.uniform(0, width), rng.uniform(0, height)
            turn = at(layout.angle, x, y) + rng.normal(0, 0.2) if aligned else rng.uniform(0, np.pi)
            if rng.random() < where(x, y):
                put(kind, x, y, turn)

    def in_nest(x: float, y: float) -> float:
        return float(at(layout.nest, x, y) > 0.6)

    def in_cluster(x: float, y: float) -> float:
        return at(layout.cluster, x, y) ** 2

    def in_stroma(x: float, y: float) -> float:
        inside = at(layout.gland_depth, x, y) > 5 and at(layout.nest, x, y) < 0.2
        clear = all(np.hypot(x - v[0], y - v[1]) > v[2] + 4 for v in layout.vessels)
        return float(inside and clear) * (1 - 0.8 * at(layout.cluster, x, y))

    scatter(0.35, in_nest, "pale")
    scatter(2.2, in_nest, "tumour")
    scatter(10.0, in_cluster, "lymphocyte")
    scatter(0.12, in_cluster, "pale")
    scatter(0.19, in_stroma, "spindle", aligned=True)
    scatter(0.045, in_stroma, "lymphocyte")
    scatter(0.06, in_stroma, "pale", aligned=True)


def _outline(rng: np.random.Generator, kind: Kind, x: float, y: float, angle: float) -> NDArray[np.float64]:
    """An irregular ellipse around a point: a closed outline, (40, 2) x and y."""
    grow = np.clip(rng.normal(1, kind.spread), 0.65, 1.5)
    a = kind.length / 2 * grow * np.clip(rng.normal(1, kind.spread / 2), 0.7, 1.3)
    b = kind.width / 2 * grow * np.clip(rng.normal(1, kind.spread / 2), 0.7, 1.3)
    theta = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    wobble = np.ones_like(theta)
    for k in (2, 3, 4):
        wobble += kind.wobble * rng.normal() * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) / (k - 1)
    u, v = a * wobble * np.cos(theta), b * wobble * np.sin(theta)
    v = v + rng.normal(0, 0.015) * u * u
    return np.stack([x + u * np.cos(angle) - v * np.sin(angle), y + u * np.sin(angle) + v * np.cos(angle)], 1)


def neighbours(layout: Layout) -> tuple[Plane, Plane]:
    """Distance in µm of every sample to the nearest and second nearest nucleus centre."""
    centres = np.array([o.mean(axis=0) for o in layout.outlines]) * layout.recipe.mpp
    coarse = np.stack([layout.x[::2, ::2].ravel(), layout.y[::2, ::2].ravel()], 1)
    near = np.asarray(spatial.cKDTree(centres).query(coarse, k=2)[0])
    small = layout.x[::2, ::2].shape
    planes = [np.kron(near[:, i].reshape(small), np.ones((2, 2))) for i in (0, 1)]
    rows, columns = layout.x.shape
    return planes[0][:rows, :columns], planes[1][:rows, :columns]
