"""Pictures on disk: their samples, and what their files hold besides, by format."""
