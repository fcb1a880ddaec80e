"""What exists only for the paper: its data sets, models, recipes, tables and benchmarks.

Cordonnier et al., Differentiable Patch Selection for Image Recognition, CVPR 2021. Only
`foveal.cli` imports from here.
"""
