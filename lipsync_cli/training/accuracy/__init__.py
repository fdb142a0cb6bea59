"""How accurate the sync model is, by window and condition."""
