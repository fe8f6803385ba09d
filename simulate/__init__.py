"""Simulation: scenes, and pairs of counts and true rates for training, in memory or on disk."""
