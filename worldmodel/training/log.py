"""What a run says: lines and a progress bar for people, log.jsonl for programs.

Not here: which metrics, and when (loop.py).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import monotonic
from typing import Any

STATUS_PAUSE_S = 10.0  # between two status lines where there is no terminal


class Log:
    """The voice of one run: a jsonl file, and stderr with a bar if that is a terminal, else plain lines."""

    def __init__(self, path: Path, label: str) -> None:
        self.path = path
        self.label = label
        self._bar: Any = None
        self._last_status = -STATUS_PAUSE_S

    def say(self, text: str) -> None:
        """One line on stderr, above the bar if there is one."""
        line = f"[{self.label}] {text}"
        if self._bar is None:
            print(line, file=sys.stderr, flush=True)
        else:
            self._bar.write(line, file=sys.stderr)

    def record(self, step: int, minutes: float, metrics: dict[str, float]) -> None:
        """Append one line to the jsonl file."""
        line = json.dumps({"step": step, "minutes": round(minutes, 4), "metrics": metrics})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the lines of later steps, and torn ones: the run goes on from an older checkpoint."""
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        kept = [line for line in lines if _step_of(line) <= step]
        if len(kept) < len(lines):
            temporary = self.path.with_name(f"{self.path.name}.tmp")
            temporary.write_text("".join(kept), encoding="utf-8")
            os.replace(temporary, self.path)

    def tick(self, step: int, total: int) -> None:
        """Move the bar, where there is one."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm

            shape = "{desc} {n_fmt}/{total_fmt} |{bar}| {elapsed} {rate_fmt}{postfix}"
            self._bar = tqdm(total=total, initial=step, desc=self.label, bar_format=shape, dynamic_ncols=True)
        self._bar.update(step - self._bar.n)

    def status(self, step: int, total: int, text: str) -> None:
        """How it goes: beside the bar, or as a line at most every ten seconds."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)
        elif monotonic() - self._last_status >= STATUS_PAUSE_S:
            self._last_status = monotonic()
            self.say(f"step {step}/{total}  {text}")

    def close(self) -> None:
        """Remove the bar; lines can still be said."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"]) if line.endswith("\n") else float("inf")
    except (ValueError, KeyError, TypeError):
        return float("inf")
