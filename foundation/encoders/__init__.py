"""Loaders of encoders, one a family; they do not know each other."""
