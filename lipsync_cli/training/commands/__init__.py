"""One file of commands per model."""
