"""Who is judged on what: regions, predictors, the run, the verdict."""
