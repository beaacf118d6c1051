"""What the tests share: a client of raw sockets, real server processes, the checks after each row."""
