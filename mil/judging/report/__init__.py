"""The report of a judgement: one HTML page that needs nothing beside it, and one JSON file."""
