"""The tensors of a TorchScript archive, by name, without running or even reading its code.

An archive keeps its modules in a pickle of its own dialect. It is read here by an unpickler to
which every module is one inert class and every other name is refused, save those that stand for
tensors and lists.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch

from lipsync_cli.errors import WeightsError

_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")


def read_torchscript(archive: zipfile.ZipFile, root: str) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers of an archive, under the names of its state dict.

    Args:
        root: the folder inside the archive that holds everything.

    Raises:
        WeightsError: the weights were frozen into the code.
        pickle.UnpicklingError: the pickle names something that is no module and no tensor.
        Exception: whatever a damaged pickle leads to.
    """
    modules = _Unpickler(archive, root).load()
    tensors = dict(_tensors(modules, "", set()))
    if not tensors:
        raise WeightsError(
            "is frozen TorchScript, whose weights have no names any more",
            hint="import the checkpoint that it was made from",
        )
    return tensors


class _Module:
    """Stands for a module of any class."""

    __slots__ = ("parts",)

    def __setstate__(self, parts: Any) -> None:
        self.parts = parts if isinstance(parts, dict) else {}


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}/data.pkl")))
        self._archive = archive
        self._root = root
        self._storages: dict[str, torch.Tensor] = {}

    # What a pickle gets hold of is made anew each time, so that it cannot alter the original.
    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: storage.as_strided(
                size, stride, offset
            )
        if (module, name) == ("collections", "OrderedDict"):
            return lambda: OrderedDict()
        if module == "torch" and name in _DTYPES:
            return name
        if module == "torch.jit._pickle" and name in (*_LISTS, "restore_type_tag"):
            return lambda value, *_: value
        if (module, name) == ("torch", "device"):
            return lambda *_: None
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name} is not allowed")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        _, kind, key, _, count = pid
        if key not in self._storages:
            self._storages[key] = self._storage(_DTYPES[kind], key)
        storage = self._storages[key]  # [values]
        if storage.numel() != count:
            raise pickle.UnpicklingError(f"storage {key} does not hold {count} values")
        return storage

    def _storage(self, dtype: torch.dtype, key: str) -> torch.Tensor:
        data = bytearray(self._archive.read(f"{self._root}/data/{key}"))
        return torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _tensors(module: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, torch.Tensor]]:
    # Modules that hold each other must not lead round in circles.
    if not isinstance(module, _Module) or id(module) in seen:
        return
    seen.add(id(module))
    for name, part in getattr(module, "parts", {}).items():
        if isinstance(part, torch.Tensor):
            yield f"{prefix}{name}", part
        else:
            yield from _tensors(part, f"{prefix}{name}.", seen)
