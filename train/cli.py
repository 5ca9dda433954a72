"""The door of every stage script: hydra in front, one line instead of a traceback where the reader can help.

    @stage("teacher")
    def main(raw: DictConfig) -> None: ...

WORLDMODEL_TRACEBACK=1 shows where an error happened.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
from omegaconf import DictConfig

from worldmodel.env import EnvError

CONF = str(Path(__file__).parent.parent / "conf")
READERS = (ValueError, OSError, EnvError, FloatingPointError, RuntimeError)


def stage(name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make main(raw) the command of conf/<name>.yaml. An error ends in one line on stderr and exit code 2."""

    def door(main: Callable[[DictConfig], None]) -> Callable[[], None]:
        @functools.wraps(main)
        def run(raw: DictConfig) -> None:
            try:
                main(raw)
            except READERS as error:
                if os.environ.get("WORLDMODEL_TRACEBACK"):
                    raise
                sys.stderr.write(f"train.{name}: {' '.join(str(error).split())}\n")
                sys.exit(2)

        return hydra.main(version_base="1.3", config_path=CONF, config_name=name)(run)  # type: ignore[no-any-return]

    return door
