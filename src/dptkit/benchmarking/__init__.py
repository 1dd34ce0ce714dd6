"""How fast a model is on this machine, and in how much memory."""
