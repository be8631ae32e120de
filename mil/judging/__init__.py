"""How good a score is: figures of merit over numpy arrays, with intervals, and the report that shows them."""
