"""Shipped studies: each a module that runs, prints a table and draws a figure of docs/figures."""
