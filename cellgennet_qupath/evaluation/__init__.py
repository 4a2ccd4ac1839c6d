"""Evaluation of methods on annotated regions: regions, predictors, the run, the verdict."""
