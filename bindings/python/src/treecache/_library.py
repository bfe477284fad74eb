"""Finds and loads the shared library, once, when the package is imported."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from . import _abi

_SONAME = "libtreecache.so.0"


def _candidates() -> list[tuple[str, str]]:
    """The files to try, in this order, each with where the name comes from."""
    chosen = os.environ.get("TREECACHE_LIBRARY")
    if chosen:
        return [(chosen, "TREECACHE_LIBRARY")]
    beside = Path(__file__).with_name(_SONAME)
    return [(str(beside), "beside the package"), (_SONAME, "system loader")]


def load() -> ctypes.CDLL:
    """Loads the first library that can be loaded; ImportError says what was tried, and why it was of no use."""
    tried = []
    for name, source in _candidates():
        try:
            library, holding_the_lock = ctypes.CDLL(name), ctypes.PyDLL(name)
            for function, (result, arguments) in _abi.PROTOTYPES.items():
                prototype = getattr(holding_the_lock if function in _abi.SHORT else library, function)
                prototype.restype = result
                if function not in _abi.SHORT:  # these are given what needs no conversion, which takes a third of the time
                    prototype.argtypes = arguments
                setattr(library, function, prototype)
        except (OSError, AttributeError) as error:  # not there, or not this library, or an older one
            tried.append(f"  {name} ({source}): {error}")
        else:
            return library
    raise ImportError(
        "the shared library of treecache cannot be loaded; tried:\n"
        + "\n".join(tried)
        + "\nInstall libtreecache, or name its file in the environment variable TREECACHE_LIBRARY."
    )


lib = load()
