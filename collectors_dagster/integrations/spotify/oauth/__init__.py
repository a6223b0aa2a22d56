"""Who may ask Spotify: consent of users, tokens, and the vault that all processes share.

Standards: RFC 6749 (OAuth 2.0), 6750 (bearer tokens), 7636 (PKCE), 8252 (native apps), 9700 (security practice).
Nothing here puts a token, a code or a secret into a URL that is logged, an exception, or a representation.
"""

SERVICE = "spotify accounts"
"""Names the accounts service in errors."""
