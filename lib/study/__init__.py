"""A study: a grid of trainings, what came of each, and the report that only reads that."""
