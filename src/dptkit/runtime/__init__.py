"""Engines that run a network: one Backend protocol, heavy imports inside each engine's file."""
