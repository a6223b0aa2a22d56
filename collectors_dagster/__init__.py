"""A multi-tenant data-collection platform on Dagster: the core, which knows the domain.

Rooms, from top to bottom; a room imports only what stands after it (``make plan`` holds this)::

    definitions > cli > agent | scorer | supervisor > collectors | models | monitoring
        > integrations | features > strategies > patterns | security > config
        > clock | frames | records > samples | tenants > errors

The Dagster side (``assets``, ``resources``, ``sensors``) lies beside this package and asks it.
"""

__version__ = "0.1.0"
