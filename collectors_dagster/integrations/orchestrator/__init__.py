"""Dagster seen from outside: its GraphQL interface (``api``), and the tables of its event log (``event_log``).

No Dagster is imported here: the command line talks to a running web server, upkeep to the database.
"""
