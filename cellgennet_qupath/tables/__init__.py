"""Export of a project's measurements to files."""
