"""Reports: what a person sees of a score, on one page that needs nothing beside it."""
