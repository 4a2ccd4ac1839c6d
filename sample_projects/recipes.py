"""The four slides of the sample project."""

from __future__ import annotations

from tissue import Recipe

RECIPES = (
    Recipe(
        "slide1_glands", 11, 0.5, 1024, 1024, glands=9, nests=0.0, clusters=0.10, vessels=4,
        stains=((0.65, 0.70, 0.29), (0.18, 0.83, 0.53)), strength=(1.0, 1.0),
    ),
    Recipe(
        "slide2_inflamed", 12, 0.5, 1024, 1024, glands=3, nests=0.10, clusters=0.24, vessels=5,
        stains=((0.70, 0.66, 0.27), (0.14, 0.85, 0.51)), strength=(0.90, 1.15), glass=0.12,
        white=(246.0, 245.0, 247.0),
    ),
    Recipe(
        "slide3_nests", 13, 0.25, 1536, 1024, glands=0, nests=0.42, clusters=0.10, vessels=2,
        stains=((0.61, 0.73, 0.31), (0.22, 0.80, 0.56)), strength=(1.08, 0.92), patchy_focus=0.7,
        white=(240.0, 238.0, 241.0),
    ),
    Recipe(
        "slide4_mixed", 14, 0.5, 1024, 1024, glands=5, nests=0.16, clusters=0.13, vessels=4,
        stains=((0.67, 0.68, 0.29), (0.16, 0.84, 0.52)), strength=(0.95, 1.05), patchy_focus=0.4,
        white=(243.0, 240.0, 245.0),
    ),
)  # fmt: skip
