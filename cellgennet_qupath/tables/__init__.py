"""The measurements of a project as files."""
