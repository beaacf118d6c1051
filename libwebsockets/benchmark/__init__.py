"""The benchmark: ``python -m libwebsockets.benchmark``. The library itself does not use it."""

__all__: list[str] = []
