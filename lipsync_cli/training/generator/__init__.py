"""Training of generators, and their comparison."""
