"""How good scores are: pure functions over arrays, and the report that shows them."""
