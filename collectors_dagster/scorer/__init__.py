"""The resident scorer: every new minute of all hosts, scored with the champion models, becomes scores and incidents.

One of several scorers leads; the others stand by. Whatever is away (the database, MLflow), it goes on as well as it
can and says so in its log and in ``<home>/run/scorer.json``.
"""
