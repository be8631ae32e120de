"""Learning: what is minimised, how a fold is fitted, and what helps where labels are few, rare or wrong."""
