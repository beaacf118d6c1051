"""The module that compresses: the interpreter's zlib, or a faster one with the same functions."""

from __future__ import annotations

import importlib
import zlib
from typing import Any

__all__ = ["DEFLATED", "load_engine"]

ENGINES = {"zlib": zlib.__name__, "isal": "isal.isal_zlib", "zlib-ng": "zlib_ng.zlib_ng"}

DEFLATED = 8  # the method of every engine


def load_engine(name: object, level: int, mem_level: int) -> Any:
    """The module that compresses: zlib, or one with the same functions.

    Raises TypeError or ValueError for an unknown engine, for one that is not installed, and for a
    level that the engine does not have.
    """
    if not isinstance(name, str):
        raise TypeError(f"deflate_engine must be a str, not {type(name).__name__}")
    if name not in ENGINES:
        raise ValueError(f"deflate_engine must be one of {', '.join(ENGINES)}, not {name!r}")
    try:
        engine: Any = importlib.import_module(ENGINES[name])
    except ImportError:
        raise ValueError(f"deflate_engine {name!r} is not installed") from None
    try:
        engine.compressobj(level, DEFLATED, -15, mem_level)
    except (ValueError, engine.error):
        raise ValueError(f"deflate_level {level} is none of {name}'s") from None
    return engine
