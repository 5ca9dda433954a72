import threading
from pathlib import Path

import pygame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldmodel.action import Action, ActionError, ActionSpace, cancel_opposites
from worldmodel.ui.bindings import default_bindings, key_rows
from worldmodel.ui.keymap import MOUSE_LEFT, Command, code_label, code_of, is_pad
from worldmodel.ui.latch import Feel, Latch
from worldmodel.ui.shortcuts import USUAL, command_of

DOOM = ActionSpace(
    ("forward", "backward", "strafe_left", "strafe_right", "turn_left", "turn_right", "attack", "use"), (20.0, 0.0)
)
W, S, A, UP = pygame.KSCAN_W, pygame.KSCAN_S, pygame.KSCAN_A, pygame.KSCAN_UP


def latch(space: ActionSpace = DOOM) -> Latch:
    return Latch(space, default_bindings(space.buttons), Feel(degrees_per_pixel=0.5), 10.0)


def labels(bindings: dict[int, str], name: str) -> list[str]:
    return [code_label(code) for code, bound in bindings.items() if bound == name and not is_pad(code)]


def test_doom_is_played_with_the_usual_keys():
    bindings = default_bindings(DOOM.buttons)
    assert [labels(bindings, name) for name in ("forward", "strafe_left", "turn_left", "attack", "use")] == [
        ["W", "Up"],
        ["A"],
        ["Left"],
        ["Mouse left", "Space"],
        ["E"],
    ]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.sampled_from([*DOOM.buttons, "jump", "fire", "left", "up", "b1", "b2", "b3"]), unique=True))
def test_every_button_has_a_key_and_no_key_is_a_command(names):
    bindings = default_bindings(names)
    assert set(bindings.values()) == set(names)
    assert not bindings.keys() & USUAL.keys()


def test_a_key_goes_to_the_button_that_likes_it_most():
    bindings = default_bindings(("attack", "jump"))
    assert (labels(bindings, "attack"), labels(bindings, "jump")) == (["Mouse left"], ["Space"])


def test_chosen_keys_replace_the_usual_ones():
    bindings = default_bindings(DOOM.buttons, {"attack": ["ctrl"], "use": ["W"]})
    assert labels(bindings, "attack") == ["Ctrl"]
    assert labels(bindings, "use") == ["W"]
    assert labels(bindings, "forward") == ["Up"]


@pytest.mark.parametrize("chosen", [{"fly": ["W"]}, {"use": ["F1"]}, {"use": ["Q"], "attack": ["Q"]}])
def test_impossible_choices_are_refused(chosen):
    with pytest.raises(ActionError):
        default_bindings(DOOM.buttons, chosen)


def test_labels_and_codes_are_inverse():
    for code in [*default_bindings(DOOM.buttons), *(set(USUAL) - {pygame.KSCAN_ESCAPE})]:
        assert code_of(code_label(code)) == code


@pytest.mark.parametrize(
    ("label", "hint"),
    [
        ("Spcae", "did you mean Space"),
        ("??", "letters, digits,"),
        ("Ctrl+Hyper", "key"),
        ("Ctrl+Pad A", "Pad A"),
        ("Esc", "key"),
    ],
)
def test_a_key_that_cannot_be_bound_is_answered_with_those_that_can(label, hint):
    """It listed all sixty of them."""
    with pytest.raises(ActionError, match="no key") as told:
        code_of(label)
    assert hint in str(told.value)
    assert len(str(told.value)) < 200


def test_quit_goes_by_the_letter_and_the_rest_by_the_place():
    """On a French keyboard the place of Q types an A: Ctrl+A must not quit."""
    assert command_of(USUAL, pygame.KSCAN_Q, pygame.K_a, pygame.KMOD_LCTRL) is None
    assert command_of(USUAL, pygame.KSCAN_A, pygame.K_q, pygame.KMOD_LCTRL) is Command.QUIT
    assert command_of(USUAL, pygame.KSCAN_Q, pygame.K_q, 0) is None
    assert command_of(USUAL, pygame.KSCAN_F4, pygame.K_F4, 0) is Command.RESET
    assert command_of(USUAL, pygame.KSCAN_F4, pygame.K_F4, pygame.KMOD_LSHIFT) is Command.NEXT_START
    assert command_of(USUAL, pygame.KSCAN_F8, pygame.K_F8, pygame.KMOD_RCTRL) is Command.KEEP_LAST
    assert command_of(USUAL, pygame.KSCAN_F8, pygame.K_F8, pygame.KMOD_LSHIFT) is Command.RECORD


def test_the_readme_has_the_key_table_of_the_program():
    """Edit KEYS, then paste these lines into the README."""
    readme = Path(__file__).parent.parent.joinpath("README.md").read_text()
    rows = key_rows(DOOM, default_bindings(DOOM.buttons))
    table = "\n".join(
        [
            "| key | does |",
            "|---|---|",
            *(f"| {keys.replace('[', '`[`').replace(']', '`]`')} | {does} |" for keys, does in rows),
        ]
    )
    assert table in readme, table


def test_a_binding_to_a_button_the_world_lacks_is_refused():
    with pytest.raises(ActionError):
        Latch(ActionSpace(("use",)), {W: "forward"}, Feel(), 10.0)


def test_a_tap_shorter_than_a_step_counts_for_one_step():
    keys = latch()
    keys.press(W)
    keys.release(W)
    assert keys.take() == Action({"forward"})
    assert keys.take() == Action()


def test_a_held_key_counts_until_it_is_released():
    keys = latch()
    keys.press(W)
    assert [keys.take(), keys.take()] == [Action({"forward"})] * 2
    keys.release(W)
    assert keys.take() == Action()


def test_a_button_with_two_keys_is_held_until_both_are_up():
    keys = latch()
    keys.press(W)
    keys.press(UP)
    keys.take()
    keys.release(W)
    assert keys.take() == Action({"forward"})


def test_mouse_motion_is_summed_over_a_step():
    keys = latch()
    for dx in (3, 4, -1):
        keys.move(dx, 0)
    assert keys.take() == Action(mouse=(3.0, 0.0))
    assert keys.take() == Action()


def test_mouse_motion_is_clamped_and_kept_off_axes_the_world_lacks():
    keys = latch()
    keys.move(-1000, 1000)
    assert keys.take() == Action(mouse=(-20.0, 0.0))
    keys.move(0, 5)
    assert keys.is_idle


def test_opposite_keys_cancel():
    keys = latch()
    for code in (W, S, A):
        keys.press(code)
    assert keys.take() == Action({"strafe_left"})


def test_focus_loss_releases_everything():
    keys = latch()
    for code in (W, MOUSE_LEFT):
        keys.press(code)
    keys.move(9, 0)
    keys.release_all()
    assert keys.is_idle
    assert keys.take() == Action()
    keys.release(W)  # the late key-up of a key that is already forgotten
    assert keys.is_idle


def test_after_a_pause_held_keys_count_and_old_taps_do_not():
    keys = latch()
    keys.press(W)
    keys.press(A)
    keys.release(A)
    keys.move(9, 0)
    keys.forget_pending()
    assert keys.take() == Action({"forward"})


def test_input_time_is_that_of_the_oldest_event_in_the_action(monkeypatch):
    clock = iter([1.0, 2.0])
    monkeypatch.setattr("worldmodel.ui.latch.time.perf_counter", lambda: next(clock))
    keys = latch()
    keys.press(W)
    keys.move(4, 0)
    keys.take()
    assert keys.input_time == 1.0
    keys.take()
    assert keys.input_time is None


class Reference:
    """The latch's law, written without hurry: the whole history of a step, looked at from its end."""

    bindings = default_bindings(DOOM.buttons)

    def __init__(self) -> None:
        self.down: list[int] = []
        self.step: list[tuple[str, int]] = []

    def take(self) -> Action:
        codes = self.down + [code for kind, code in self.step if kind == "press"]
        dx = 0.5 * sum(amount for kind, amount in self.step if kind == "move")
        self.step = []
        return Action(
            cancel_opposites(self.bindings[c] for c in codes if c in self.bindings), (max(-20, min(20, dx)), 0)
        )


EVENTS = st.one_of(
    st.tuples(st.sampled_from(["press", "release"]), st.sampled_from([W, S, A, UP, MOUSE_LEFT, pygame.KSCAN_F1])),
    st.tuples(st.just("move"), st.integers(-60, 60)),
    st.tuples(st.sampled_from(["lose_focus", "take"]), st.just(0)),
)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_any_sequence_of_events_gives_what_the_law_says(events):
    keys, law = latch(), Reference()
    for kind, value in [*events, ("take", 0), ("lose_focus", 0), ("take", 0)]:
        match kind:
            case "press":
                keys.press(value)
                law.down = [*{*law.down, value}]
            case "release":
                keys.release(value)
                law.down = [code for code in law.down if code != value]
            case "move":
                keys.move(value, 7)
            case "lose_focus":
                keys.release_all()
                law.down, law.step = [], []
            case "take":
                assert keys.take() == law.take()
        if kind in ("press", "move"):
            law.step.append((kind, value))
    assert keys.take() == Action()


def test_no_motion_is_lost_between_two_threads():
    keys = Latch(ActionSpace((), (1e9, 0.0)), {}, Feel(degrees_per_pixel=1.0), 10.0)
    hand = threading.Thread(target=lambda: [keys.move(1, 0) for _ in range(20_000)])
    hand.start()
    total = 0.0
    while hand.is_alive():
        total += keys.take().mouse[0]
    assert total + keys.take().mouse[0] == 20_000
