"""The one door to attention: all implementations agree, and the choice says no when it cannot be met."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from tiny import clip, network

from worldmodel.diffusion.rollout import prefill
from worldmodel.model import attention, dit
from worldmodel.model.attention import attend, choose

B, H, Q, K, D = 2, 3, 5, 7, 8


@pytest.fixture(autouse=True)
def _no_memory(monkeypatch):
    """Each test asks anew which packages there are; none has flash-attn unless it says so."""
    monkeypatch.delenv("WM_ATTENTION", raising=False)
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    for cached in (attention._flash, attention._say_once):
        cached.cache_clear()
    yield
    for cached in (attention._flash, attention._say_once):
        cached.cache_clear()


@pytest.fixture
def flash(monkeypatch):
    """A flash-attn that speaks the layout of the real one, (B, L, H, d), and notes what it was given."""
    module, shapes = ModuleType("flash_attn"), []

    def flash_attn_func(q, k, v):
        shapes.extend(tuple(part.shape) for part in (q, k, v))
        weights = (torch.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5).softmax(-1)
        return torch.einsum("bhqk,bkhd->bqhd", weights, v)

    module.flash_attn_func = flash_attn_func
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    return shapes


def qkv(*, device="cpu", dtype=torch.float32):
    return tuple(torch.randn(B, H, length, D, device=device, dtype=dtype) for length in (Q, K, K))


def on_gpu(dtype=torch.bfloat16, size=D, ndim=4):
    """What `choose` asks of a query on a GPU."""
    return SimpleNamespace(dtype=dtype, is_cuda=True, shape=(*[2] * (ndim - 1), size), ndim=ndim)


BIASES = {
    "none": None,
    "all": torch.linspace(-2, 2, B * H * Q * K).sin().reshape(B, H, Q, K),
    "of a row": torch.linspace(-2, 2, B * K).reshape(B, 1, 1, K),
    "of a hidden key": torch.zeros(Q, K).index_fill(1, torch.tensor([2]), -1e9),
}


@pytest.mark.parametrize("bias", BIASES.values(), ids=BIASES)
def test_plain_equals_sdpa(bias):
    q, k, v = qkv()
    torch.testing.assert_close(attention._plain(q, k, v, bias), attention._sdpa(q, k, v, bias), rtol=0, atol=1e-6)


def test_plain_and_sdpa_have_equal_gradients():
    q, k, v = qkv()
    inputs = [q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), torch.randn(Q, K, requires_grad=True)]
    slopes = [torch.autograd.grad(f(*inputs).square().sum(), inputs) for f in (attention._plain, attention._sdpa)]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-4, atol=1e-5)


def test_a_hidden_key_has_no_say_at_all():
    q, k, v = qkv()
    bias = torch.zeros(Q, K).index_fill(1, torch.tensor([2]), -1e9)
    other = v.index_fill(2, torch.tensor([2]), 1e4)
    for name in ("plain", "sdpa"):
        implementation = getattr(attention, f"_{name}")
        assert torch.equal(implementation(q, k, v, bias), implementation(q, k, other, bias))


@pytest.mark.usefixtures("flash")
def test_flash_equals_sdpa_on_our_layout():
    q, k, v = qkv()
    torch.testing.assert_close(attention._flash_attend(q, k, v, None), F.scaled_dot_product_attention(q, k, v))


def test_flash_is_given_its_own_layout(flash):
    attention._flash_attend(*qkv(), None)
    assert flash == [(B, Q, H, D), (B, K, H, D), (B, K, H, D)]


@pytest.mark.usefixtures("flash")
def test_flash_is_chosen_on_a_gpu_in_half_precision_without_a_bias():
    assert choose(on_gpu(), biased=False) == choose(on_gpu(torch.float16), biased=False) == "flash"
    assert choose(on_gpu(torch.float32), biased=False) == "sdpa"
    assert choose(on_gpu(size=264), biased=False) == "sdpa"
    assert choose(on_gpu(ndim=3), biased=False) == "sdpa"
    assert choose(qkv()[0].bfloat16(), biased=False) == "plain"


@pytest.mark.usefixtures("flash")
def test_flash_never_meets_a_bias():
    assert choose(on_gpu(), biased=True) == "sdpa"
    with pytest.raises(AssertionError, match="bias"):
        attention._flash_attend(*qkv(), torch.zeros(Q, K))


def test_without_flash_a_gpu_takes_sdpa():
    assert choose(on_gpu(), biased=False) == "sdpa"


def test_a_package_of_that_name_without_the_function_is_no_flash(monkeypatch):
    """flash-attn 4 installs a package flash_attn that has no flash_attn_func."""
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    assert attention._flash() is None
    assert choose(on_gpu(), biased=False) == "sdpa"


def test_a_cpu_trains_with_plain_and_plays_with_sdpa():
    q = qkv()[0]
    assert choose(q, biased=True) == "plain"
    with torch.no_grad():
        assert choose(q, biased=True) == "sdpa"


@pytest.mark.parametrize("name", ["sdpa", "plain"])
def test_a_wish_that_can_be_met_is_met(name, monkeypatch):
    monkeypatch.setenv("WM_ATTENTION", name)
    with torch.no_grad():
        assert choose(qkv()[0], biased=True) == name
    assert choose(on_gpu(), biased=False) == name


@pytest.mark.usefixtures("flash")
def test_a_wish_for_flash_that_cannot_be_met_is_refused(monkeypatch):
    monkeypatch.setenv("WM_ATTENTION", "flash")
    assert choose(on_gpu(), biased=False) == "flash"
    for query, biased in ((on_gpu(), True), (on_gpu(torch.float32), False), (qkv()[0], False)):
        with pytest.raises(RuntimeError, match="WM_ATTENTION=flash needs"):
            choose(query, biased=biased)


def test_a_wish_for_flash_without_flash_is_refused(monkeypatch):
    monkeypatch.setenv("WM_ATTENTION", "flash")
    with pytest.raises(RuntimeError, match="WM_ATTENTION=flash needs"):
        attend(*qkv())


def test_an_unknown_wish_is_refused(monkeypatch):
    monkeypatch.setenv("WM_ATTENTION", "fast")
    with pytest.raises(RuntimeError, match="auto, flash, sdpa, plain"):
        attend(*qkv())


def test_the_choice_is_logged_once(caplog):
    caplog.set_level("INFO")
    for _ in range(3):
        attend(*qkv())
    assert [record.message for record in caplog.records] == ["attention: plain (flash-attn is not installed)"]


def test_a_wish_that_cannot_be_met_is_refused_while_compiling_too(monkeypatch):
    monkeypatch.setenv("WM_ATTENTION", "flash")
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with pytest.raises(RuntimeError, match="WM_ATTENTION=flash needs"):
        attend(*qkv())


def test_flash_can_serve_a_network_in_steady_play(monkeypatch):
    """Once all near frames exist, spatial heads hide nothing; only then is there an attention for flash."""
    model, biases = network(window=4), []
    cache = model.new_cache(2)
    prefill(model, cache, *clip(9))
    monkeypatch.setattr(dit, "attend", lambda q, k, v, bias=None: biases.append(bias) or attend(q, k, v, bias))
    with torch.no_grad():
        model(torch.randn(2, 1, *model.latent_shape), torch.ones(2, 1), clip(1)[1], cache)
    assert any(bias is None for bias in biases)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_on_a_gpu_every_implementation_equals_sdpa_in_float32(dtype, monkeypatch):
    monkeypatch.delitem(sys.modules, "flash_attn")  # the real one, if it is installed
    q, k, v = qkv(device="cuda", dtype=dtype)
    exact = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    for name in ("sdpa", "plain", *(["flash"] if attention._flash() else [])):
        torch.testing.assert_close(getattr(attention, f"_{name}")(q, k, v, None).float(), exact, rtol=0, atol=2e-2)
