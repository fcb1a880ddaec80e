"""Parts of models that only the experiments of the paper use."""
