"""Damaged files and interrupted runs."""
