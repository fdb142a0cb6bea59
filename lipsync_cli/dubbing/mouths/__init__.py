"""The speaker's own mouths: indexed, chosen by sound, borrowed."""
