"""Putting a mouth into a picture: where, how it blends, when it shows."""
