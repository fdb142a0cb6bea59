"""Public checkpoints on their way into the user's store: recognised, stripped, downloaded."""
