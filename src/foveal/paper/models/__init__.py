"""Models that only the experiments of the paper use."""
