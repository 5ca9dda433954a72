"""Real key events on a real X server that nobody sees: Xvfb and xdotool; skipped where they are missing."""

import contextlib
import os
import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool (apt install xvfb xdotool)"
)
PATIENCE_S = 60.0
GAME = """
import os
import sys
import pygame
sys.path.insert(0, sys.argv[1])
from test_session import PlainEnv
from worldmodel.ui.session import Session
from worldmodel.ui.window import Window

def tell(line):
    os.write(1, f"{line}\\n".encode())  # in one piece: two threads tell

window = Window("worldmodel", PlainEnv.size_hw)
PlainEnv.fps = 20.0
tell(f"window {pygame.display.get_wm_info()['window']}")
env, last = PlainEnv(), [None]
session = Session(env, window, say=lambda line: tell("said " + line))

def on_step(t):
    action = env.taken[-1]
    told = (sorted(action.buttons), action.mouse[0] > 0, window.is_captured)
    if told != last[0]:
        tell(" ".join(map(str, told)))
        last[0] = told

env.on_step = on_step
session.run()
window.close()
tell("closed")
"""


class Desk:
    """An X server with one game on it: key() and read()."""

    def __init__(self, stack):
        display_in, display_out = os.pipe()
        self.server = stack.enter_context(
            subprocess.Popen(
                ["Xvfb", "-displayfd", str(display_out), "-screen", "0", "640x480x24"], pass_fds=[display_out],
                stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip
        stack.callback(self.server.kill)
        os.close(display_out)
        with os.fdopen(display_in) as pipe:
            self.env = {**os.environ, "DISPLAY": f":{pipe.readline().strip()}", "SDL_VIDEODRIVER": "x11"}
        here = Path(__file__).parent
        command = [sys.executable, "-c", GAME, here]
        self.game = stack.enter_context(
            subprocess.Popen(command, env=self.env, cwd=here.parent, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(self.game.kill)
        self.lines = queue.Queue()
        threading.Thread(target=lambda: [*map(self.lines.put, self.game.stdout)], daemon=True).start()

    def xdotool(self, *words):
        return subprocess.run(["xdotool", *words], env=self.env, capture_output=True, text=True, check=False).stdout

    def read(self, *wanted):
        """Lines until one begins with the wanted, which is given back."""
        while not (line := self.lines.get(timeout=PATIENCE_S)).startswith(wanted):
            pass
        return line.strip()


def test_real_keys_play_pause_and_quit():
    with contextlib.ExitStack() as stack:
        desk = Desk(stack)
        window = desk.read("window").split()[1]
        desk.read("said first frame")
        desk.xdotool("windowfocus", "--sync", window, "mousemove", "100", "100", "click", "1")
        desk.read("[] False True")  # captured, and playing
        desk.xdotool("mousemove_relative", "20", "0")
        assert desk.read("[") == "[] True True"
        assert desk.read("[") == "[] False True"
        desk.xdotool("key", "a")  # 12 ms, in a world of 50 ms a step
        assert desk.read("[") == "['turn_left'] False True"
        assert desk.read("[") == "[] False True"
        desk.xdotool("keydown", "w")
        assert desk.read("[") == "['forward'] False True"
        desk.xdotool("windowunmap", "--sync", window)  # the focus is lost with W held, and the world waits
        desk.xdotool("keyup", "w")
        desk.xdotool("windowmap", "--sync", window, "windowfocus", "--sync", window)
        desk.xdotool("key", "p")
        while (line := desk.read("[")) == "['forward'] False False":
            pass  # the step that was on its way when the focus was lost
        assert line == "[] False False"  # nothing is stuck, and the mouse is free
        desk.xdotool("key", "Escape", "key", "Up", "key", "Return")  # the menu's last item
        desk.read("closed")
        assert desk.game.wait(PATIENCE_S) == 0
