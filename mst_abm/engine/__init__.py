"""The engine: random numbers, tables, lattice and mixed kernels, signals, advance.

Arrays and integers only: numpy and numba, no names, no units, no files. Kernels allocate
nothing, raise nothing and return a status from `mst_abm.engine.status`.
"""
