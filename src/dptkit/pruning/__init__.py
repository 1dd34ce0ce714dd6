"""Structured pruning: whole attention heads and MLP neurons leave a network, which stays dense and gets smaller."""
