"""What is computed per tenant, thin: keys, partitions, metadata. Rules and numbers live in the core.

One file per group of assets holds the *stages*: functions that do one asset's work for one tenant and return the
metadata to show. ``batch.py`` runs stages for the many tenants of a run and isolates the one that fails;
``chain.py`` and ``models.py`` declare the assets. Nothing heavier than Dagster is imported at the top of a module.
"""
