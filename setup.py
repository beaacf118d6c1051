"""Builds the C core with cffi into a limited-API extension; the rest is in pyproject.toml."""

import sysconfig

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel

# The limited API does not exist on free-threaded builds.
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")


class abi3_wheel(bdist_wheel):
    """One wheel for CPython 3.10 and later."""

    def finalize_options(self) -> None:
        """Sets the tag that the extension's ABI allows."""
        if LIMITED:
            self.py_limited_api = "cp310"
        super().finalize_options()


setup(
    packages=[
        "libwebsockets",
        "libwebsockets.deflate",
        "libwebsockets.http",
        "libwebsockets.listening",
        "libwebsockets.process",
        "libwebsockets.tls",
        "libwebsockets.benchmark",
        "libwebsockets.testserver",
    ],
    package_dir={"libwebsockets.testserver": "test-server"},
    package_data={
        "libwebsockets": ["py.typed", "*.pyi"],
        "libwebsockets.testserver": ["test.html", "favicon.ico"],
    },
    include_package_data=False,
    cffi_modules=["csrc/build_ffi.py:ffibuilder", "csrc/benchmark/build_ffi.py:ffibuilder"],
    cmdclass={"bdist_wheel": abi3_wheel},
    zip_safe=False,
)
