"""Training of the sync expert that teaches a generator."""
