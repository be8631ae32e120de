"""Experiments: a TOML that says what is learnt from what, and the folder of a run that can be trusted later."""
