"""The terms of the joint objective: pure functions of maps, one equation each.

Notation: p in (0, 1) a predicted probability from logit z, y in [0, 1] its target, w >= 0 the weight of
a pixel (0 where unknown). Every mean is over pixels, weighted by w; a batch without weight costs 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_EPS = 1e-6


def weighted_mean(value: Tensor, weight: Tensor) -> Tensor:
    """sum(w * v) / sum(w), and 0 where nothing has weight."""
    return (value * weight).sum() / weight.sum().clamp_min(_EPS)


def binary_cross_entropy(logit: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """BCE = - mean_w[ y log p + (1 - y) log(1 - p) ], also for soft targets y."""
    return weighted_mean(functional.binary_cross_entropy_with_logits(logit, target, reduction="none"), weight)


def object_weight(known: Tensor, touching: Tensor, weight: float) -> Tensor:
    """w = known (1 + kappa n), kappa = ``weight``: the object map counts more where nuclei touch.

    Such samples are few, and they decide whether nuclei are separated. After the weight map of Ronneberger
    et al., "U-Net: Convolutional networks for biomedical image segmentation", MICCAI 2015.
    known, touching : shares of a sample, in [0, 1], that are labelled, and where nuclei touch (n).
    """
    return known * (1 + weight * touching)


def distances(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """R = mean_w[ mean_k |r_k - t_k| ]: the mean absolute error of distances r, as StarDist weights it.

    predicted, target : (n, k, h, w), distances t along k rays.
    weight            : (n, h, w), the object probability, 0 outside nuclei.
    Schmidt et al., "Cell Detection with Star-convex Polygons", MICCAI 2018, equation 3.
    """
    return weighted_mean((predicted - target).abs().mean(dim=1), weight)


def vectors(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """V = mean_w[ sum_i h(v_i - t_i) ], h Huber's loss that is linear from 0.2 on.

    predicted, target : (n, 2, h, w), the vector t to the centre of the nucleus around each sample.
    weight            : (n, h, w), 0 outside nuclei.
    """
    error = functional.smooth_l1_loss(predicted, target, reduction="none", beta=0.2)
    return weighted_mean(error.sum(dim=1), weight)


def tversky(logit: Tensor, target: Tensor, weight: Tensor, alpha: float, beta: float) -> Tensor:
    """T = 1 - (TP + s) / (TP + alpha FP + beta FN + s), s = 1; over the whole batch.

    TP = sum w p y, FP = sum w p (1 - y), FN = sum w (1 - p) y. alpha = beta = 0.5 is the Dice loss;
    beta > alpha penalises misses more. Salehi et al., MLMI 2017. 0 where nothing has weight.
    """
    p = torch.sigmoid(logit)
    smooth = 1.0
    hit = (weight * p * target).sum()
    false_positive = (weight * p * (1 - target)).sum()
    false_negative = (weight * (1 - p) * target).sum()
    return 1 - (hit + smooth) / (hit + alpha * false_positive + beta * false_negative + smooth)


def confidence(target: Tensor, agreement: Tensor, background_weight: float) -> Tensor:
    """The weight of soft targets, c = |2q - 1| s in [0, 1], per map; q is the foreground's for both maps.

    Where the foreground is undecided neither map counts. Times ``background_weight`` where q < 1/2: a nucleus
    that a network misses, it misses in all views.
    target    : (n, 2, h, w), soft foreground and object probability.
    agreement : (n, 2, h, w), s in [0, 1], of the views; 0 where nothing may be learnt.
    """
    foreground = target[:, :1]
    side = torch.where(foreground < 0.5, background_weight, 1.0)
    return (2 * foreground - 1).abs() * agreement * side


def distillation(logit: Tensor, soft_target: Tensor, weight: Tensor) -> Tensor:
    """D = mean_c[ BCE(p, q) - H(q) ]: the divergence of the student's p from the teacher's soft q.

    c = ``weight`` is the confidence in q. H(q) = BCE(q, q) makes it 0 where p = q, so that its size measures
    the distance between student and teacher; its gradient is that of the cross-entropy.
    """
    q = soft_target.clamp(_EPS, 1 - _EPS)
    entropy = -(q * q.log() + (1 - q) * (1 - q).log())
    cross = functional.binary_cross_entropy_with_logits(logit, q, reduction="none")
    return weighted_mean(cross - entropy, weight)


def consistency(logit: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """C = mean_w[ (p - p')^2 ], p' the averaged (EMA) student's probability of another view.

    Tarvainen & Valpola, "Mean teachers are better role models", NeurIPS 2017.
    """
    return weighted_mean((torch.sigmoid(logit) - other) ** 2, weight)


def ramp(progress: float, begin: float, length: float) -> float:
    """0 before ``begin``, then exp(-5 (1 - t)^2) with t = (progress - begin) / length, and 1 after it.

    It fades unsupervised terms in once the student has learnt something from labels.
    progress : share of the training that is done, in [0, 1]; ``begin`` and ``length`` are shares too.
    Laine & Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017.
    """
    if progress < begin:
        return 0.0
    if progress >= begin + length:
        return 1.0
    return math.exp(-5.0 * (1.0 - (progress - begin) / length) ** 2)
