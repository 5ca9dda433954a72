"""What every test stands on: one thread, fixed seeds, no screen."""

import os

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="module")
def config(request):
    """The settings of the game that a test file names as GAME."""
    from worldmodel.config import load_yaml, typed
    from worldmodel.games import GameConfig

    return typed(GameConfig, load_yaml(f"conf/game/{request.module.GAME}.yaml"))


@pytest.fixture(scope="module")
def game(config):
    """That game, one for the whole file."""
    from worldmodel.games import open_game

    game = open_game(config)
    yield game
    game.close()
