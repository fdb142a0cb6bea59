"""Programmes with known drift and steps."""
