"""Time by stage, beside the limit of each."""
