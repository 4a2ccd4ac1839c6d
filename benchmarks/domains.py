"""Domains of tissue that a start may be trained without: TNBC, the purple stain, and the organs in thirds."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from datasets import LabelledImage, overlapping_groups

DOMAINS = ("tnbc", "purple", "organs-a", "organs-b", "organs-c")
"""Organs are in alphabetical order, every third one in a, from the second in b, from the third in c."""


@dataclass(frozen=True)
class DomainImage:
    """An image with what decides where it belongs.

    group : images of one group share tissue: a patient, or fields of NuInsSeg that overlap.
    """

    item: LabelledImage
    domain: str
    organ: str
    group: str
    nuclei: int


@dataclass(frozen=True)
class Domains:
    """All images of DATA (``manifest.csv``, ``overlapping_pairs.csv``, ``nuclei/``), by domain."""

    root: Path

    @cached_property
    def images(self) -> list[DomainImage]:
        """By domain and file name; the manifest's splits play no part."""
        with (self.root / "manifest.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        organs = sorted({row["organ"] for row in rows if row["dataset"].startswith("nuinsseg")})
        groups = overlapping_groups(self.root)
        found = []
        for row in rows:
            name, organ = row["file"], row["organ"]
            if row["dataset"] == "tnbc":
                domain, group = "tnbc", f"patient {row['patient']}"
            elif row["dataset"] == "dsb2018_purple":
                domain, group = "purple", name
            else:
                domain, group = f"organs-{'abc'[organs.index(organ) % 3]}", groups.get(Path(name).stem, name)
            folder = self.root / "nuclei" / row["dataset"]
            label = folder / "labels" / Path(name).with_suffix(".png").name
            item = LabelledImage(row["dataset"], Path(name).stem, folder / "images" / name, label)
            found.append(DomainImage(item, domain, organ, group, int(row["n_nuclei"])))
        return sorted(found, key=lambda image: (image.domain, image.item.dataset, image.item.image.name))

    def of(self, domain: str) -> list[DomainImage]:
        """The images of a domain."""
        return [image for image in self.images if image.domain == domain]

    def without(self, domain: str) -> list[DomainImage]:
        """The images of all other domains."""
        return [image for image in self.images if image.domain != domain]
