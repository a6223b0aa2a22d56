"""What starts runs and what reacts to them: schedules, and sensors with cursors.

Decisions are made in the core (``strategies``, ``monitoring``); a sensor reads, asks, translates.
"""
