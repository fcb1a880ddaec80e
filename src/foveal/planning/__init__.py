"""Planning: what a model for a data set should look like, inferred from its images."""
