"""Calling machine code made by torch's ahead-of-time compiler through its C interface.

Native   a shared library as a function of tensors

torch's own loader holds the interpreter's lock while the code runs: a window beside it stood still for whole frames
(gaps of 11 ms at the median of a 12 ms frame, 0.6 ms this way). It also parses its call's layout anew at each call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Native:
    """A compiled program. Tensors must have the shapes and strides that it was compiled for: nothing is checked."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if there is no such library, RuntimeError if it is not made by this torch."""
        library, self._handle = ctypes.CDLL(str(path)), ctypes.c_void_p()
        number = ctypes.c_size_t()
        try:
            begun = library.AOTInductorModelContainerCreateWithDevice(
                ctypes.byref(self._handle), ctypes.c_size_t(1), b"cpu", None
            )
            if begun or library.AOTInductorModelContainerGetNumOutputs(self._handle, ctypes.byref(number)):
                raise RuntimeError(f"{path} cannot be started")
            self._run: Any = library.AOTInductorModelContainerRun
        except AttributeError as error:
            raise RuntimeError(f"{path} is not the code of this torch") from error
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self._run.argtypes = [pointer, pointer, size, pointer, size, pointer, pointer]
        self._num_outputs = number.value
        self._pointer_of: Any = ctypes.pythonapi.PyCapsule_GetPointer
        self._pointer_of.restype, self._pointer_of.argtypes = pointer, [ctypes.py_object, ctypes.c_char_p]
        self._capsule: Any = ctypes.pythonapi.PyCapsule_New
        self._capsule.restype, self._capsule.argtypes = ctypes.py_object, [pointer, ctypes.c_char_p, pointer]

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs. RuntimeError if the code fails. The interpreter's lock is free meanwhile."""
        lent = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors(list(inputs))  # the code takes them
        given = (ctypes.c_void_p * len(lent))(*[self._pointer_of(one, None) for one in lent])
        made = (ctypes.c_void_p * self._num_outputs)()
        if self._run(self._handle, given, len(lent), made, self._num_outputs, None, None):
            raise RuntimeError("the machine code has failed")
        capsules = [self._capsule(one, None, None) for one in made]
        return list(torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs(capsules))
