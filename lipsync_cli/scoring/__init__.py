"""Verdicts and scores on measured offsets."""
