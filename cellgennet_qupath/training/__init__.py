"""The whole training: data, patches, teacher, pseudo-labels, student, tuning."""
