"""YAML meets dataclasses: what does not fit is said in one line with its key."""

from dataclasses import dataclass

import pytest
from omegaconf import OmegaConf

from worldmodel.config import ConfigError, plain, typed


@dataclass(kw_only=True)
class Inner:
    rate: float
    sizes: list[int]

    def __post_init__(self):
        if self.rate <= 0:
            raise ValueError(f"inner.rate must be > 0, got {self.rate}")


@dataclass(kw_only=True)
class Outer:
    name: str
    steps: int | None
    inner: Inner


RIGHT = {"name": "a", "steps": None, "inner": {"rate": 0.5, "sizes": [3, 4]}}


def test_a_fitting_config_becomes_dataclasses_all_the_way_down():
    cfg = typed(Outer, OmegaConf.create(RIGHT))
    assert cfg == Outer(name="a", steps=None, inner=Inner(rate=0.5, sizes=[3, 4]))
    assert isinstance(cfg.inner, Inner)


@pytest.mark.parametrize(("wrong", "key"), [
    (RIGHT | {"nmae": "a"}, "nmae"),
    (RIGHT | {"inner": {"rate": 0.5, "sizes": [3], "depth": 1}}, "inner.depth"),
    (RIGHT | {"steps": "many"}, "steps"),
    (RIGHT | {"inner": {"rate": "fast", "sizes": [3]}}, "inner.rate"),
    (RIGHT | {"inner": {"rate": 0.5, "sizes": ["x"]}}, "inner.sizes"),
    (RIGHT | {"name": "???"}, "name"),
    ({k: v for k, v in RIGHT.items() if k != "steps"}, "steps"),
    (RIGHT | {"inner": {"sizes": [3]}}, "inner.rate"),
    (RIGHT | {"name": "${nowhere}"}, "nowhere"),
])  # fmt: skip
def test_what_does_not_fit_is_said_in_one_line_with_its_key(wrong, key):
    with pytest.raises(ConfigError) as caught:
        typed(Outer, OmegaConf.create(wrong))
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_checks_of_a_dataclass_are_run():
    with pytest.raises(ValueError, match=r"inner\.rate must be > 0, got -1"):
        typed(Outer, OmegaConf.create(RIGHT | {"inner": {"rate": -1, "sizes": []}}))


def test_references_are_resolved():
    cfg = typed(Outer, OmegaConf.create(RIGHT | {"name": "rate ${inner.rate}"}))
    assert cfg.name == "rate 0.5"


def test_plain_is_builtins_and_comes_back():
    cfg = typed(Outer, RIGHT)
    assert plain(cfg) == plain(OmegaConf.create(RIGHT)) == RIGHT
    assert type(plain(cfg)["inner"]) is dict
    assert typed(Outer, plain(cfg)) == cfg
