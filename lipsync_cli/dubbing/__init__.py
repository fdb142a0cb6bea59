"""New speech on an old picture: the generator of lips and what surrounds it."""
