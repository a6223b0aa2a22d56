"""Secrets on disk, and keeping secrets out of everything that people and machines read.

What decides whether something may be seen lives here. Nothing here talks to another system.
"""
