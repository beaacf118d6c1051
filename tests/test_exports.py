"""The public names are exactly those of __all__, in the package and in each of its modules."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types
from enum import IntEnum

import pytest

import libwebsockets

MODULES = sorted(
    name
    for _, name, package in pkgutil.iter_modules(libwebsockets.__path__)
    if not package and not name.startswith("_")
)


def test_the_package_exports_exactly_all() -> None:
    public = {
        name
        for name, value in vars(libwebsockets).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(libwebsockets.__all__)


def test_all_is_sorted_and_without_doubles() -> None:
    names = libwebsockets.__all__
    assert len(names) == len(set(names))
    assert [n for n in names if n.startswith("LWS")] == sorted(
        n for n in names if n.startswith("LWS")
    )


@pytest.mark.parametrize("name", MODULES)
def test_each_module_has_what_it_lists(name: str) -> None:
    module = importlib.import_module(f"libwebsockets.{name}")
    for exported in module.__all__:
        assert hasattr(module, exported), exported
    if name != "constants":
        return
    public = {
        exported
        for exported, value in vars(module).items()
        if not exported.startswith("_")
        and not isinstance(value, types.ModuleType)
        and exported not in ("IntEnum", "lib")
    }
    assert public == set(module.__all__)


@pytest.mark.parametrize(
    "function", [n for n in libwebsockets.__all__ if callable(getattr(libwebsockets, n))]
)
def test_everything_callable_is_documented(function: str) -> None:
    assert inspect.getdoc(getattr(libwebsockets, function))


def test_numbers_are_those_of_c() -> None:
    lws = libwebsockets
    reasons = ("ESTABLISHED", "CLOSED", "SEND", "RECEIVE", "HTTP", "FILTER_PROTOCOL_CONNECTION")
    for number, word in enumerate(reasons):
        member = getattr(lws, f"LWS_CALLBACK_{word}")
        assert member == number
        assert member is lws.libwebsocket_callback_reasons(number)
    for number, word in enumerate(("TEXT", "BINARY", "HTTP")):
        member = getattr(lws, f"LWS_WRITE_{word}")
        assert member == number
        assert member is lws.libwebsocket_write_protocol(number)
    assert issubclass(lws.libwebsocket_callback_reasons, IntEnum)
    assert (lws.LWS_SEND_BUFFER_PRE_PADDING, lws.LWS_SEND_BUFFER_POST_PADDING) == (12, 1)
