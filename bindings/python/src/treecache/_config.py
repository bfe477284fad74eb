"""Settings by name, as docs/configuration.md lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ctypes import POINTER, byref, c_void_p
from typing import Optional, Union

from . import _abi
from ._handle import Handle, Owner, text
from ._library import lib
from .errors import InvalidArgumentError, check, error

#: A key's value; a list of strings sets the key several times, each with one (`auth` adds one each time).
Value = Union[str, int, bool, Sequence[str]]
Config = Mapping[str, Value]


class Settings:
    """A configuration for one call, which knows why that call failed."""

    def __init__(self, config: Optional[Config]) -> None:
        self.handle = Handle(c_void_p(lib.tc_config_new()), lib.tc_config_free)
        for key, value in (config or {}).items():
            for one in _strings(key, value):
                try:
                    value_bytes = text(one)
                except InvalidArgumentError as wrong:
                    raise InvalidArgumentError(wrong.message, key=key) from None
                self.check(lib.tc_config_set(self.handle, text(key), value_bytes))

    def check(self, status: int, of: Optional[Owner] = None) -> None:
        """Raises what is wrong when a call with this configuration, on `of`, has failed."""
        if status == _abi.TC_OK:
            return
        why = POINTER(_abi.tc_error)()
        check(lib.tc_config_get_error(self.handle, byref(why)))
        if not why:
            if of is not None:
                of._check(status)
            raise error(status)
        try:
            told = why.contents
            raise error(told.status, told.message.decode(), path=_optional(told.path), key=_optional(told.key))
        finally:
            lib.tc_error_free(why)


def _strings(key: str, value: Value) -> Iterator[str]:
    if isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, int):
        yield str(value)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        yield from value
    else:
        raise TypeError(f"{key}: expected a str, int, bool or a list of str, not {type(value).__name__}")


def _optional(string: Optional[bytes]) -> Optional[str]:
    return None if string is None else string.decode()
