"""Which windows of a project would teach a model most if their nuclei were outlined."""
