"""Training of the sync model."""
