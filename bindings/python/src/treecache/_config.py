"""Settings by name, as docs/configuration.md lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ctypes import POINTER, byref, c_void_p
from typing import Any, Callable, NoReturn, Optional, Union

from . import _abi
from ._handle import Handle, Owner, text
from ._library import lib
from .errors import InvalidArgumentError, check, error

#: A key's value; a list of strings sets the key several times, each with one (`auth` adds one each time).
Value = Union[str, int, bool, Sequence[str]]
Config = Mapping[str, Value]


class Settings:
    """A configuration for one call."""

    def __init__(self, config: Optional[Config]) -> None:
        self.handle = Handle(c_void_p(lib.tc_config_new()), lib.tc_config_free)
        for key, value in (config or {}).items():
            for one in _strings(key, value):
                try:
                    value_bytes = text(one)
                except InvalidArgumentError as wrong:
                    raise InvalidArgumentError(wrong.message, key=key) from None
                status = lib.tc_config_set(self.handle, text(key), value_bytes)
                self.check(status)

    def check(self, status: int) -> None:
        """Raises why the last call with it has failed, if it has."""
        if status != _abi.TC_OK:
            why = POINTER(_abi.tc_error)()
            check(lib.tc_config_get_error(self.handle, byref(why)))
            _raise(status, why)


def make(function: Callable[..., int], *arguments: object, of: Optional[Owner] = None) -> c_void_p:
    """What a constructor of the library makes, of `of`. Raises what it tells when it has failed."""
    out, why = c_void_p(), POINTER(_abi.tc_error)()
    status = function(*arguments, byref(out), byref(why))
    if status == _abi.TC_OK:
        return out
    if status == _abi.TC_ERR_STATE and of is not None and of._is_inherited:
        lib.tc_error_free(why)
        of._check(status)  # knows what the parent of a fork made
    _raise(status, why)


def tell(owner: Owner, function: Callable[..., int], *arguments: object, path: str) -> int:
    """Makes a call that tells why it has failed, and raises that, about a path. Returns TC_OK."""
    why = POINTER(_abi.tc_error)()
    status = function(*arguments, byref(why))
    raise_told(owner, status, why, path)
    return status


def raise_told(owner: Owner, status: int, why: Any, path: str) -> None:
    """Raises what a call has told with its status, about a path, unless that is TC_OK. Frees what was told."""
    message = why.contents.message.decode() if why else None
    key = _optional(why.contents.key) if why else None
    lib.tc_error_free(why)
    if status == _abi.TC_OK:
        return
    # Of what is closed, or of another process, its owner knows more; of an argument, the library.
    known = owner._why(status, path) if status != _abi.TC_ERR_INVALID_ARGUMENT else None
    raise error(status, known or message, path=path, key=key)


def _raise(status: int, why: Any) -> NoReturn:
    """Raises the error that the library told, or that the status means, and frees the former."""
    if not why:
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
