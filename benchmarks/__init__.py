"""What the program costs, measured side by side with plain C where there is something to compare.

Uses the package as anyone may, but for two accounts that look inside (`attempts`, `account`); nothing in
the package imports this. No assertion on time: numbers are printed and written down, people judge them.
"""
