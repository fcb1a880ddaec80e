"""Tables of experiments, run by one call each: several seeds a row, taken up where they stopped.

    OUTPUT/RECIPE/SETTINGS/SEED     a run folder, with result.json when it is complete
    OUTPUT/TABLE.md                 the table, rewritten whenever a run is complete

Folders are named by what distinguishes a run, so a run that two tables have in common is made once.

Importing this, and `foveal.paper.tables.definitions`, costs no torch.
"""
