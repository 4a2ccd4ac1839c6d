"""QuPath itself through paquo. The only room in which Java runs."""
