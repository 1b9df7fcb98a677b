"""The one thing pyproject.toml cannot say on Debian 12's setuptools 66: the C extension.

It is abi3, so one file serves 3.11 to 3.13. NODEDNS_CFLAGS adds flags (the sanitizer build of `make test` uses it)."""

import os

from setuptools import Extension, setup

NATIVE = "nodedns/native"
SOURCES = [
    "table",
    "table_put",
    "marks",
    "wire",
    "names",
    "entry",
    "render",
    "counters",
    "count",
    "samples",
    "lane",
    "serve",
    "question",
    "miss",
    "stream",
    "udp",
    "module",
    "pytable",
    "pyserve",
    "pystore",
    "pyopen",
    "pycounters",
    "pyslots",
    "pyparent",
    "pytext",
    "pyupstream",
    "pysamples",
]
FLAGS = os.environ.get("NODEDNS_CFLAGS", "").split()

setup(
    ext_modules=[
        Extension(
            "nodedns.native.__init__",
            sources=[f"{NATIVE}/{name}.c" for name in SOURCES],
            depends=[f"{NATIVE}/{name}" for name in os.listdir(NATIVE) if name.endswith(".h")],
            define_macros=[("Py_LIMITED_API", "0x030b0000"), ("_GNU_SOURCE", None)],
            extra_compile_args=["-std=c11", "-O2", "-g", "-fvisibility=hidden", "-Wall", "-Wextra", *FLAGS],
            extra_link_args=FLAGS,
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
