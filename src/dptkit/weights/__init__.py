"""Weights: where published files come from, how they are fetched and checked, converted and loaded."""
