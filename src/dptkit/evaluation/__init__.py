"""How good a prediction is: metrics, alignment, named protocols, runs over data sets, and comparisons of two runs."""
