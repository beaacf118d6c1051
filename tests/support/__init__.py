"""What the tests share: a raw client, real server processes, the checks after each row."""
