"""Tables of experiments: several seeds per row, one call each, resumable.

    OUTPUT/RECIPE/OPTIONS/SEED      a run folder, with result.json once it is complete
    OUTPUT/TABLE.md                 the table, rewritten whenever a run is complete

A run folder is named by the options in which it differs from others, so a run that two tables share
is trained once.

Importing this, and `foveal.paper.tables.definitions`, does not import torch.
"""
