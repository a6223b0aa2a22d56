"""Deciding rooms for serving many tenants: pure rules over plain records, no I/O."""
