"""Annotations turned into label rasters, in which what nobody drew stays unknown."""
