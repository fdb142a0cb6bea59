"""Media files in and out: probing, one-pass reading, remuxing, atomic output."""
