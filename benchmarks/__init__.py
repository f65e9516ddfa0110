"""Measurements: what each technique is worth, and how fast all of it is."""
