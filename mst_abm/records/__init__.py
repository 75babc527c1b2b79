"""The only room that opens HDF5: the table of the file format, one writer, one reader.

Takes arrays and names, computes no result. What a file holds is in `mst_abm.records.schema`.
"""
