"""Scores of label images against a truth in which pixels may be unknown."""
