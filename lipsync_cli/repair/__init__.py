"""From a measurement to a repaired file: what is taken out, how, and what is left of it."""
