"""Runs: one simulation, a run written to a file, an ensemble."""
