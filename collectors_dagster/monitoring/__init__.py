"""What the platform says about itself and its hosts: incidents, alerts, health, logging.

Decisions are pure; what sends or stores them is called from here but lives in ``integrations``.
"""
