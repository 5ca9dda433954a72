"""Pictures that are looked for beside play, so that nothing waits for them.

Pictures   name -> picture, once it is there
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from worldmodel.env import Frame


class Pictures:
    """Called with a name: its picture uint8 (H, W, 3), or None until it is there, and where there is none.

    look: finds one, on a thread of its own; it must not raise
    """

    def __init__(self, look: Callable[[str], Frame | None]) -> None:
        self._look = look
        self._found: dict[str, Frame | None] = {}
        self._lookers = ThreadPoolExecutor(1, thread_name_prefix="pictures")  # its thread begins with the first name

    def __call__(self, name: str) -> Frame | None:
        """The picture, if it is known; else it is looked for."""
        if name not in self._found:
            self._found[name] = None
            self._lookers.submit(self._find, name)
        return self._found[name]

    def _find(self, name: str) -> None:
        self._found[name] = self._look(name)
