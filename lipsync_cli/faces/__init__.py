"""Faces of a programme: detection, tracks inside shots, aligned mouth crops."""
