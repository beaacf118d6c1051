"""Where a server listens, and whose forwarding headers count."""
