"""What the program costs, measured side by side with plain C where there is something to compare.

Reads the package's public names only; nothing in the package imports this. No assertion on time:
numbers are printed and written down, people judge them.
"""
