"""One module a reader; they do not know each other."""
