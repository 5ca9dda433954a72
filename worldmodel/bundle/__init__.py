"""A world bundle: one playable world in a folder or an uncompressed zip. Hostile until proven good.

World, read_bundle                 read.py: from files to networks
read_teacher, carries_teacher      read.py: what further training begins with
Offer, read_offer                  read.py: what a bundle says of itself, without its weights
write_bundle, add_tier, seal       write.py: the inverse; `seal` ends it with checksums
WorldError                         files.py: names, bytes, checksums (world.json: description.py)

    world.json               strict JSON: what it is, sizes, actions, noise levels, how it was trained
    student.safetensors      the network           tokenizer.safetensors   the autoencoder
    student-TIER.safetensors in some: another network for the same tokenizer and starts, described in world.json
    starts.safetensors       frames uint8 (S, T, H, W, 3) and actions (S, T - 1, A) before each start
    starts/*.png             pictures of the starts, for people
    teacher.safetensors      in some: the network the student was distilled from
    card.md  LICENSE  sha256sums

No pickle, no Python, no YAML, no link is ever read.
"""

from worldmodel.bundle.files import DEFAULT_TIER, WorldError
from worldmodel.bundle.read import Offer, World, carries_teacher, read_bundle, read_offer, read_teacher
from worldmodel.bundle.write import add_tier, seal, write_bundle

__all__ = [
    "DEFAULT_TIER", "Offer", "World", "WorldError", "add_tier", "carries_teacher", "read_bundle", "read_offer",
    "read_teacher", "seal", "write_bundle",
]  # fmt: skip
