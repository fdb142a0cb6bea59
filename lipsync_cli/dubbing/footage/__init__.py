"""Who is in the footage, and where their faces are."""
