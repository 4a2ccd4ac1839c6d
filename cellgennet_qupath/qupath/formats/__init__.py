"""QuPath's files, read and written in pure Python."""
