"""Outlines, rasters and the pixel grid. Every conversion of coordinates is here."""
