"""What the command line's commands do, once it is clear what is asked; one file each.

`foveal.cli` parses and calls these. What is heavy is imported here, and by the one that needs it.
"""
