"""Whole slides and projects: plan, tiles, stitching, checkpoints."""
