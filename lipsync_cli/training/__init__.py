"""How the shipped weights come about. Nothing else in the package imports this folder."""
