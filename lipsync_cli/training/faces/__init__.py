"""Packed faces and sound: what expert and generator train on."""
