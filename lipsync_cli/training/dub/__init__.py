"""Dubs, measured by others than the model that made them."""
