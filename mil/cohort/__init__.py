"""Cohorts: bags on disk, a table of labels, and the cases that both together make."""
