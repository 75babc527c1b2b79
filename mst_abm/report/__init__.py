"""What a person sees of a run: a short table of text and a figure.

Reads record files only, changes nothing, knows no biology: names come from the file.
"""
