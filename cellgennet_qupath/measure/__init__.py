"""Measurements of nuclei under QuPath's names."""
