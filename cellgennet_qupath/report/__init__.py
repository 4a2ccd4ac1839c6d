"""HTML pages, plots and overlays, written by the caller once the work is done."""
