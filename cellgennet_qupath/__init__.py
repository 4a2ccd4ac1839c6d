"""Nucleus segmentation for QuPath projects, learnt from a few annotated rectangles."""

__version__ = "0.1.0"

__all__ = ["__version__"]
