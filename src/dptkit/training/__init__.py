"""Training: losses, optimiser, checkpoints, the loop."""
