"""Dagster seen from outside: its GraphQL interface, the tables of its event log, and what runs printed.

No Dagster is imported here: the command line talks to a running web server (``api``), upkeep to the database
(``event_log``) and to the storage directory (``compute_logs``).
"""
