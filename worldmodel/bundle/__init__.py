"""A world bundle: one playable world in a folder or an uncompressed zip. Hostile until proven good.

World, read_bundle, read_teacher   read.py: from files to networks
write_bundle, seal                 write.py: the inverse; `seal` ends it with checksums
WorldError                         files.py: names, bytes, checksums (world.json: description.py)

    world.json               strict JSON: what it is, sizes, actions, noise levels, how it was trained
    student.safetensors      the network           tokenizer.safetensors   the autoencoder
    starts.safetensors       frames uint8 (S, T, H, W, 3) and actions (S, T - 1, A) before each start
    starts/*.png             pictures of the starts, for people
    teacher.safetensors      in some: the network the student was distilled from
    card.md  LICENSE  sha256sums

No pickle, no Python, no YAML, no link is ever read.
"""

from worldmodel.bundle.files import WorldError
from worldmodel.bundle.read import World, read_bundle, read_teacher
from worldmodel.bundle.write import seal, write_bundle

__all__ = ["World", "WorldError", "read_bundle", "read_teacher", "seal", "write_bundle"]
