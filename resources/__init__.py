"""What assets and sensors may use: each resource builds one plain core object when a step or tick starts.

Nothing here connects before it is used, and no secret is a field: fields show in Dagster's pages. Settings hold
the secrets; the resources ask them.
"""
