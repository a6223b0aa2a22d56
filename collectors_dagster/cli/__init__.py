"""The `collectors` command: one file per group of commands, imported only when it is asked for.

A command parses, asks the core, prints. What it asks may import anything below `cli` in the floor plan.
"""
