"""Tuning: better settings of an experiment, found on training cases alone; and the test set that stays sealed."""
