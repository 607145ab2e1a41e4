"""Reports of an evaluation: HTML pages, plots, galleries."""
