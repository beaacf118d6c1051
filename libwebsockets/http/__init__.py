"""HTTP: requests, replies and files."""
