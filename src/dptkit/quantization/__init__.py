"""A model in 8-bit integers after training: calibrate, quantise, score before and after, refuse what lost too much."""
