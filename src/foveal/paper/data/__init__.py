"""The data sets of the paper: painted, downloaded or read in their published layout."""
