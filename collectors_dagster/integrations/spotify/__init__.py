"""The Spotify Web API: who may ask (``oauth``), and asking (``client``).

Nothing here is loaded before it is used: Dagster's code server names the client without its HTTP library.
"""
