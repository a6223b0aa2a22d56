"""SQL of the embedded server's set-up; the store's own lives with the store."""
