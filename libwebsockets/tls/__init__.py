"""TLS over the interpreter's ssl."""
