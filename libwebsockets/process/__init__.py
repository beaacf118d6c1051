"""The server process and its parent."""
