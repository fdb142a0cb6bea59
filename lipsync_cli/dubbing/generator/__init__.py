"""Networks that draw mouths, and those that teach them."""
