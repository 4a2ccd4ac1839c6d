"""Suggested windows against random ones: how much a model gains from the nuclei outlined in them.

    python benchmarks/suggestion.py DATA START --domain tnbc -o RUNS [--seed 0]...

START is a bundle that was trained without the domain (``starts.py``). Labels play the annotator. Half of the
domain's patients (or groups of fields that share tissue) are annotated, the others scored. Each arm begins
with the same random windows; each round adds windows and trains anew from START, always for the same number
of steps, on all windows so far. Runs that are complete are not repeated.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from datasets import MPP, WINDOW, LabelledImage, labelled_part
from domains import DOMAINS, Domains
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from cellgennet_qupath.bundle import Bundle, load_bundle, now
from cellgennet_qupath.core.config import LossConfig, StudentConfig
from cellgennet_qupath.geometry.contours import label_polygons
from cellgennet_qupath.geometry.grid import round_up
from cellgennet_qupath.geometry.raster import rasterize
from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.metrics.scores import score
from cellgennet_qupath.metrics.statistics import mean_interval, wilcoxon
from cellgennet_qupath.networks.runtime import load_runtime
from cellgennet_qupath.segmentation.decode import Decoding, DecodingConfig, decode
from cellgennet_qupath.suggestion.choose import choose
from cellgennet_qupath.suggestion.criteria import Windows, concat, measure
from cellgennet_qupath.training.batches import LabelledBatch
from cellgennet_qupath.training.patches import CONTEXT, INNER, PatchSampler, generator, recolour
from cellgennet_qupath.training.pseudo_labels import predict_views
from cellgennet_qupath.training.soft_maps import Predict, whole_maps
from cellgennet_qupath.training.student import StudentTrainer
from cellgennet_qupath.training.targets import TOUCHING, objectness, touching

ROUNDS, PER_ROUND = 5, 10
STEPS = 150
RANDOM, SUGGESTED = "random", "suggested"


@dataclass(frozen=True)
class Trial:
    """What the arms of a domain and a seed share."""

    start: Bundle
    pool: Sequence[LabelledImage]
    scored: Sequence[LabelledImage]
    folder: Path
    seed: int

    @property
    def mpp(self) -> float:
        """µm per sample of the student's input."""
        return self.start.card.mpp or MPP

    @property
    def step(self) -> float:
        """Pixels per sample of the student's input."""
        return self.mpp / MPP

    @property
    def stride(self) -> int:
        return self.start.config.student.stride

    @property
    def rule(self) -> Decoding:
        """How the start's maps become nuclei, in their samples."""
        return DecodingConfig.model_validate(self.start.card.decoding).at(self.stride * self.mpp)

    def decoded(self, maps: NDArray[np.float32]) -> NDArray[np.int32]:
        """The nuclei of maps, as labels on their grid."""
        return decode(maps[..., 0], maps[..., 1], self.rule)[0]


def divided(root: Path, domain: str) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """The images to annotate and those to score: every other group of the domain."""
    images = Domains(root).of(domain)
    held_out = set(sorted({image.group for image in images})[1::2])
    return (
        [image.item for image in images if image.group not in held_out],
        [image.item for image in images if image.group in held_out],
    )


def grid(item: LabelledImage) -> list[Rectangle]:
    """The windows that may be chosen: all at half-window steps."""
    rows, columns = item.truth().shape
    step = WINDOW // 2
    return [
        Rectangle.of_size(x, y, WINDOW, WINDOW)
        for y in range(0, rows - WINDOW + 1, step)
        for x in range(0, columns - WINDOW + 1, step)
    ]


def random_windows(
    pool: Sequence[LabelledImage],
    taken: Sequence[tuple[int, Rectangle]],
    count: int,
    rng: np.random.Generator,
) -> list[tuple[int, Rectangle]]:
    """Windows that overlap none taken, each as likely as any other."""
    candidates = [(number, box) for number, item in enumerate(pool) for box in grid(item)]
    chosen: list[tuple[int, Rectangle]] = []
    for row in rng.permutation(len(candidates)):
        if len(chosen) < count and free(candidates[row], [*taken, *chosen]):
            chosen.append(candidates[row])
    return chosen


def free(one: tuple[int, Rectangle], others: Sequence[tuple[int, Rectangle]]) -> bool:
    """Whether a window overlaps no other of its image."""
    image, box = one
    return not any(
        image == number and box.x0 < b.x1 and b.x0 < box.x1 and box.y0 < b.y1 and b.y0 < box.y1
        for number, b in others
    )


def suggested_windows(
    trial: Trial, predict: Predict, taken: Sequence[tuple[int, Rectangle]], rng: np.random.Generator
) -> list[tuple[int, Rectangle]]:
    """The windows that ``cellgennet suggest`` would choose with a model."""
    candidates: list[Windows] = []
    annotated: list[Windows] = []
    places: list[tuple[int, Rectangle]] = []
    rule, step = trial.rule, trial.step
    for number, item in enumerate(trial.pool):
        image = even(item.normalised(trial.mpp))
        views = predict_views(predict, image, 4)
        mine = [box for image_of, box in taken if image_of == number]
        others = [box for box in grid(item) if free((number, box), taken)]
        candidates.append(measure(image, views.mean, views.std, in_samples(others, step), rule, number))
        annotated.append(measure(image, views.mean, views.std, in_samples(mine, step), rule, number))
        places += [(number, box) for box in others]
    windows = concat([part for part in candidates if len(part)])
    known = np.bincount([image for image, _ in taken], minlength=len(trial.pool)).astype(np.float64)
    annotations = concat([part for part in annotated if len(part)])
    return [places[choice.row] for choice in choose(windows, annotations, known, PER_ROUND, rng)]


def in_samples(boxes: Sequence[Rectangle], step: float) -> list[Rectangle]:
    """Windows of ``grid`` in samples, all of one size."""
    side = round(WINDOW / step)
    return [Rectangle.of_size(round(box.x0 / step), round(box.y0 / step), side, side) for box in boxes]


def even(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """An image without the last row or column of an odd number."""
    return image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]


def trained(trial: Trial, taken: Sequence[tuple[int, Rectangle]], file: Path) -> Path:
    """Weights half-way between START and START trained on the windows."""
    patch = round_up(round(WINDOW / trial.step), 32)
    settings = trial.start.config.student.model_copy(
        update={"init": trial.start.student, "patch": patch, "batch": 4, "learning_rate": 3e-4}
    )
    config = StudentConfig.model_validate(settings.model_dump())
    trainer = StudentTrainer(
        config, LossConfig(touching_weight=4), trial.start.config.pseudo, STEPS, trial.seed
    )
    sampler = PatchSampler(
        [labelled_part(trial.pool[number], box, trial.mpp) for number, box in taken],
        config.patch + 2 * CONTEXT,
    )
    for step in range(STEPS):
        rng = generator(trial.seed, "student", step)
        patches = sampler.draw(rng, config.batch)
        batch = LabelledBatch(
            np.stack([recolour(p.image, rng)[INNER, INNER] for p in patches]),
            np.stack([p.foreground[INNER, INNER] for p in patches]),
            np.stack([objectness(p.objects)[INNER, INNER] for p in patches]),
            np.stack([touching(p.objects, TOUCHING[config.stride])[INNER, INNER] for p in patches]),
        )
        trainer.step(batch, None)
    trainer.save_weights(file)
    result, begin = load_file(file), load_file(trial.start.student)
    save_file({name: halfway(begin[name], value) for name, value in result.items()}, file)
    return file


def halfway(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return torch.lerp(first, second, 0.5) if first.dtype.is_floating_point else second


def predictor(trial: Trial, weights: Path) -> Predict:
    """A student's maps of a normalised image of any size."""
    runtime = load_runtime(weights, trial.start.config.student, threads=1)
    return partial(whole_maps, runtime.predict)


def scores(trial: Trial, predict: Predict) -> dict[str, float]:
    """PQ of each scored image."""
    found = {}
    for item in trial.scored:
        truth = item.truth()
        labels = trial.decoded(predict(item.normalised(trial.mpp)))
        outlines = label_polygons(labels, trial.stride * trial.step)
        found[item.name] = score(truth, rasterize(outlines, truth.shape)).as_dict()["pq"]
    return found


def outlined(trial: Trial, taken: Sequence[tuple[int, Rectangle]]) -> int:
    """Nuclei in the windows, those cut by a border included: each has to be outlined."""
    return sum(
        len(np.setdiff1d(trial.pool[number].truth()[box.y0 : box.y1, box.x0 : box.x1], [0]))
        for number, box in taken
    )


def run(trial: Trial, arm: str) -> list[dict[str, Any]]:
    """All rounds of an arm; a round that is complete is read."""
    taken: list[tuple[int, Rectangle]] = []
    rounds: list[dict[str, Any]] = []
    predict: Predict | None = None
    for number in range(ROUNDS + 1):
        # The first round is the same in both arms.
        folder = trial.folder / ("begin" if number == 0 else arm) / str(number)
        record = folder / "round.json"
        weights = folder / "student.safetensors"
        if not record.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            rng = generator(trial.seed, "windows", number)
            if number == 0 or arm == RANDOM:
                added = random_windows(trial.pool, taken, PER_ROUND, rng)
            else:
                earlier = trial.folder / ("begin" if number == 1 else arm) / str(number - 1)
                predict = predictor(trial, earlier / "student.safetensors")
                added = suggested_windows(trial, predict, taken, rng)
            every = [*taken, *added]
            found = scores(trial, predictor(trial, trained(trial, every, weights)))
            content = {"added": added, "nuclei": outlined(trial, every), "pq": found, "date": now()}
            record.write_text(json.dumps(content, indent=1), encoding="utf-8")
            mean = np.nanmean(list(found.values()))
            click.echo(f"seed {trial.seed} {arm} round {number}: {content['nuclei']} nuclei, PQ {mean:.4f}")
        content = json.loads(record.read_text(encoding="utf-8"))
        taken += [(image, Rectangle(*box)) for image, box in content["added"]]
        rounds.append(content)
    return rounds


def at_equal_nuclei(arms: dict[str, list[dict[str, Any]]]) -> tuple[dict[str, dict[str, float]], list[float]]:
    """PQ of each image in each arm, the mean over numbers of nuclei that both arms reach; these numbers."""
    counts = {arm: [one["nuclei"] for one in rounds] for arm, rounds in arms.items()}
    last = min(numbers[-1] for numbers in counts.values())
    common = np.linspace(next(iter(counts.values()))[0], last, 21)[1:]
    images = next(iter(arms.values()))[0]["pq"]
    return {
        arm: {
            name: float(np.interp(common, counts[arm], [one["pq"][name] for one in rounds]).mean())
            for name in images
        }
        for arm, rounds in arms.items()
    }, common.tolist()


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("start", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--domain", type=click.Choice(DOMAINS), required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1, 2), show_default=True)
def main(data: Path, start: Path, domain: str, output: Path, seeds: tuple[int, ...]) -> None:
    """Run what is missing, then compare the arms."""
    torch.set_num_threads(1)
    bundle = load_bundle(start)
    pool, scored = divided(data, domain)
    base = Trial(bundle, pool, scored, output, 0)
    alone = scores(base, predictor(base, bundle.student))
    click.echo(
        f"{domain}: {len(pool)} images to annotate, {len(scored)} scored; the start alone: "
        f"PQ {np.nanmean(list(alone.values())):.4f}"
    )
    gains: dict[str, list[float]] = {}
    table = []
    for seed in seeds:
        trial = Trial(bundle, pool, scored, output / domain / f"seed{seed}", seed)
        arms = {arm: run(trial, arm) for arm in (RANDOM, SUGGESTED)}
        equal, common = at_equal_nuclei(arms)
        for name in equal[RANDOM]:
            gains.setdefault(name, []).append(equal[SUGGESTED][name] - equal[RANDOM][name])
        for arm, rounds in arms.items():
            table += [
                {
                    "seed": seed,
                    "arm": arm,
                    "round": n,
                    "nuclei": one["nuclei"],
                    "pq": round(float(np.nanmean(list(one["pq"].values()))), 4),
                }
                for n, one in enumerate(rounds)
            ]
        difference = np.nanmean([equal[SUGGESTED][n] - equal[RANDOM][n] for n in equal[RANDOM]])
        click.echo(
            f"seed {seed}: suggested - random at equal nuclei ({common[0]:.0f} to {common[-1]:.0f}): "
            f"{difference:+.4f} PQ"
        )
    paired = np.array([np.mean(values) for values in gains.values()])
    p, _ = wilcoxon(paired, np.zeros(len(paired)))
    low, high = mean_interval(paired)
    summary = {
        "domain": domain,
        "start": bundle.card.name,
        "date": now(),
        "seeds": list(seeds),
        "machine": f"{platform.machine()}, {os.cpu_count()} processor threads",
        "steps": STEPS,
        "start_pq": round(float(np.nanmean(list(alone.values()))), 4),
        "gain_pq": round(float(paired.mean()), 4),
        "interval": [round(low, 4), round(high, 4)],
        "p": p,
        "images": len(paired),
        "better": int((paired > 0).sum()),
        "rounds": table,
    }
    (output / domain / "summary.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
    click.echo(
        f"{domain}: suggested - random at equal nuclei {paired.mean():+.4f} PQ, 95 % interval "
        f"{low:+.4f} to {high:+.4f}, p = {p:.3g}, {len(paired)} images, {len(seeds)} seeds"
    )


if __name__ == "__main__":
    main()
