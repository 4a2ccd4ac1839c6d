"""Scores, losses and the facts of a model card in the words of the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LABELS = {
    "dice": "Dice",
    "iou": "IoU",
    "tpr": "TPR",
    "fpr": "FPR",
    "hausdorff": "Hausdorff",
    "hd95": "HD95",
    **{f"f1@{t}": f"F1@{t}" for t in (0.5, 0.6, 0.7, 0.8, 0.9)},
    "precision@0.5": "Precision",
    "recall@0.5": "Recall",
    "aji": "AJI",
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
    "boundary_f1": "Boundary F1",
    "true_objects": "Nuclei, true",
    "predicted_objects": "Nuclei, predicted",
    "merged_objects": "Nuclei, merged",
    "split_objects": "Nuclei, split",
    "false_objects": "False detections",
    "count_error": "Count error",
    "count_off": "|Count error|",
}
"""The scores by their names in tables and cards."""

LOSSES = {
    "total": "total",
    "bce": "foreground (cross-entropy)",
    "tversky": "foreground (Tversky)",
    "objectness": "object probability",
    "geometry": "geometry of nuclei",
    "distillation": "distillation",
    "consistency": "consistency",
    "loss": "training",
    "validation": "validation",
}
"""The terms of the losses by their names in histories."""

_FACTS = {
    "images": "images",
    "training_windows": "windows to learn from",
    "training_nuclei": "nuclei in them",
    "training_labelled_pixels": "annotated pixels",
    "validation_windows": "windows held out",
    "validation_nuclei": "nuclei in them",
    "unlabelled_tiles": "tiles of unlabelled tissue",
    "hours": "hours of training",
    "minutes": "minutes of training",
    "stage": "networks trained",
    "began_with": "started from",
    "start": "started from",
    "enlargement": "enlargement of the images",
    "share": "share of what was learnt",
    "recommended": "model kept",
    "machine": "trained on",
    "command": "made by",
}
_STAGES = {"all": "teacher and student", "teacher": "teacher", "student": "student"}
_KEPT = {"start": "the start, as it was", "trained": "the trained one"}


def card_facts(training: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a card says about its training, as labels and texts in a fixed order.

    What is nested and not known here is left out; ``model.yaml`` has it.
    """
    facts = [(label, _text(key, training[key])) for key, label in _FACTS.items() if key in training]
    others = [
        key for key, value in training.items() if key not in _FACTS and isinstance(value, str | int | float)
    ]
    facts += [(key.replace("_", " "), _text(key, training[key])) for key in others]
    return [(label, text) for label, text in facts if text]


def _text(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return _origin(value) if key in ("began_with", "start") else ""
    if key == "stage":
        return _STAGES.get(str(value), str(value))
    if key == "recommended":
        return _KEPT.get(str(value), str(value))
    if key == "began_with":
        return f"weights of {value}"
    if key == "share" and isinstance(value, int | float):
        return f"{value:.0%}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if isinstance(value, list) or value is None else str(value)


def _origin(start: Mapping[str, Any]) -> str:
    """The model that a training started from, as its card describes it."""
    name = start.get("name") or "an earlier training of the same model"
    created = f", created {str(start['created'])[:10]}" if "created" in start else ""
    return f"{name}{created}"
