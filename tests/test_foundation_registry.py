"""The table of encoders is read strictly, and names that are not in it are met with the nearest."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation import EncoderSpec, RegistryError, list_encoders
from foundation.registry import list_slide_encoders, nearest, read_registry
from foundation.slide_spec import SlideEncoderSpec

TABLE = files("foundation").joinpath("registry.toml").read_text(encoding="utf-8")
NORM = "[norm]\nhalf = { mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }\n"
ROW = """
[[encoder]]
key = "small"
family = "timm"
arch = "vit_small_patch16_224"
kwargs = { img_size = 224, mlp_layer = "SwiGLUPacked", init_values = 1e-5 }
source = "hf:somebody/small"
file = "model.safetensors"
dim = 384
pooling = "cls"
px = 224
mpp = [0.5]
mpp_source = "card"
field_um = 128.0
resize = 256
crop = 224
norm = "half"
interpolation = "bicubic"
licence = "MIT"
licence_source = "model card"
commercial = true
gated = false
requires = ["transformers<5"]
citation = "nobody"
"""
SLIDE = """
[[slide_encoder]]
key = "over-small"
family = "pool"
source = "builtin"
tile_encoders = ["small"]
mpp = [0.5]
dim = 384
licence = "MIT"
licence_source = "model card"
commercial = true
gated = false
citation = "nobody"
"""
WHOLE = NORM + ROW + SLIDE
FREE = {
    "builtin", "handcrafted", "tissue-lite0", "tissue-small", "resnet50", "dinov2", "dinov2-vitb14", "virchow",
    "h_optimus_0", "midnight", "openmidnight", "openpath", "crown", "hibou_l", "hibou_b", "keep", "quiltnet",
    "quiltnet-b16", "quiltnet-b16-pmb", "omiclip", "conceptclip",
}  # fmt: skip
"""All whose licence is known to allow commercial use and is not in dispute; a new one is added here on purpose."""


def test_the_default_comes_first_and_keeps_its_preprocessing() -> None:
    spec = list_encoders()[0]
    assert (spec.key, spec.dim, spec.px, spec.mpp) == ("builtin", 1280, 224, (0.5, 1.0, 2.0))
    assert spec.commercial
    assert not spec.gated
    assert spec.preprocessing_digest == "c108f0a572876b2a3cc328364db274aa36b52481f6f25fc4078be284095acb66"
    assert set(spec.to_json()) == {item.name for item in fields(EncoderSpec)}


def test_every_digest_is_whole_and_stands_with_its_file_and_revision() -> None:
    known: list[EncoderSpec | SlideEncoderSpec] = [*list_encoders(), *list_slide_encoders()]
    for spec in known:
        if spec.weights_sha256 is not None and not spec.source.startswith(("wheel:", "own:")):
            assert spec.file, spec.key
            assert spec.source.startswith(("hf:", "url:")), spec.key
            assert not spec.source.startswith("hf:") or re.fullmatch("[0-9a-f]{40}", spec.revision), spec.key


def test_who_may_use_what_is_stated_for_every_encoder() -> None:
    assert {spec.key for spec in list_encoders() if spec.commercial} == FREE
    assert {spec.key for spec in list_slide_encoders() if spec.commercial} == {"mean", "max", "meanmax", "meanstd"}
    assert all(spec.licence and spec.licence_source and spec.citation for spec in list_encoders())


def test_registers_are_counted_among_the_tokens_that_a_mean_skips() -> None:
    for spec in list_encoders():
        registers = 4 if "reg4" in spec.arch else int(spec.kwargs.get("reg_tokens", 0))
        if registers:
            assert spec.prefix_tokens == 1 + registers, spec.key


@pytest.mark.parametrize(
    ("key", "tile", "digest_of"),
    [("gigapath", 256, "virchow2"), ("conch_v1_5", 512, "conch"), ("uni@256", 256, "uni"), ("retccl", 256, "uni")],
)
def test_tiles_and_digests_tell_recipes_apart(key: str, tile: int, digest_of: str) -> None:
    specs = {spec.key: spec for spec in list_encoders()}
    assert specs[key].tile_px == tile
    assert specs[key].preprocessing_digest != specs[digest_of].preprocessing_digest


@pytest.mark.parametrize(
    "other",
    [
        {"px": 225, "crop": 225},
        {"field_um": 120.0},
        {"resize": 255},
        {"interpolation": "bilinear"},
        {"mean": (0.5, 0.5, 0.4)},
        {"std": (0.5, 0.5, 0.4)},
    ],
)
def test_the_digest_covers_all_between_tile_and_network(other: dict[str, object]) -> None:
    spec = read_registry(WHOLE)[0][0]
    assert replace(spec, **other).preprocessing_digest != spec.preprocessing_digest  # type: ignore[arg-type]
    assert replace(spec, note="another").preprocessing_digest == spec.preprocessing_digest


@pytest.mark.parametrize(
    ("other", "matters"),
    [
        ({"pooling": "mean"}, True),
        ({"prefix_tokens": 5}, True),
        ({"kwargs": {"img_size": 224}}, True),
        ({"crop": 225, "px": 225}, True),
        ({"weights_sha256": "0" * 64}, True),
        ({"note": "another"}, False),
        ({"licence": "GPL-3.0"}, False),
    ],
)
def test_the_recipe_holds_what_changes_a_feature_and_no_words(other: dict[str, object], matters: bool) -> None:  # noqa: FBT001 - a parameter of the test
    spec = read_registry(WHOLE)[0][0]
    assert (replace(spec, **other).recipe() != spec.recipe()) == matters  # type: ignore[arg-type]


def test_the_small_table_is_read() -> None:
    (spec,), (slide,) = read_registry(WHOLE)
    assert (spec.mean, spec.tile_px, spec.requires) == ((0.5, 0.5, 0.5), 256, ("transformers<5",))
    assert spec.kwargs == {"img_size": 224, "mlp_layer": "SwiGLUPacked", "init_values": 1e-5}
    assert spec.weights_sha256 is None
    assert slide.tile_encoders == ("small",)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dim = 384", ""),
        ("dim = 384", "dim = 384\ndims = 1"),
        ("dim = 384", "dim = '384'"),
        ("dim = 384", "dim = true"),
        ("gated = false", "gated = 0"),
        ("mean = [0.5, 0.5, 0.5]", "mean = [0.5, 0.5]"),
        ('norm = "half"', 'norm = "third"'),
        ('norm = "half"', 'norm = "half"\nmean = [0.5, 0.5, 0.5]'),
        ('norm = "half"', "mean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.0]"),
        ("mpp = [0.5]", "mpp = ['0.5']"),
        ("mpp = [0.5]", "mpp = [-0.5]"),
        ("mpp = [0.5]", "mpp = [0.5, 1.0]"),
        ('mpp_source = "card"', ""),
        ('pooling = "cls"', ""),
        ('pooling = "cls"', 'pooling = "max"'),
        ('licence_source = "model card"', ""),
        ("crop = 224", "crop = 200"),
        ('interpolation = "bicubic"', 'interpolation = "lanczos"'),
        ('source = "hf:somebody/small"', 'source = "ftp:somebody/small"'),
        ('file = "model.safetensors"', 'weights_sha256 = "57934424"'),
        ("init_values = 1e-5", "init_values = 1"),
        ("img_size = 224", "img_size = 224.0"),
        ("img_size = 224", "pretrained = true"),
        ('"SwiGLUPacked"', '"os.system"'),
        ('requires = ["transformers<5"]', "requires = [5]"),
        ('requires = ["transformers<5"]', 'text = { tokenizer = "evil" }'),
        ('requires = ["transformers<5"]', 'precision = "float8"'),
        ('tile_encoders = ["small"]', 'tile_encoders = ["smal"]'),
        ('tile_encoders = ["small"]', 'tile_encoders = ["small"]\ncoords = "screen"'),
        ('tile_encoders = ["small"]', 'tile_encoders = ["small"]\ntile_columns = 10'),
        ("[[encoder]]", "[encoder]"),
        ("[[encoder]]", "[["),
        ("[norm]", "extra = 1\n[norm]"),
        ("[norm]", "[[norm]]"),
    ],
)
def test_a_table_that_is_not_well_formed_is_refused(old: str, new: str) -> None:
    assert old in WHOLE
    with pytest.raises(RegistryError):
        read_registry(WHOLE.replace(old, new, 1))


@pytest.mark.parametrize("again", [ROW, SLIDE])
def test_a_key_stands_once(again: str) -> None:
    with pytest.raises(RegistryError, match="same key"):
        read_registry(WHOLE + again)


@given(st.text(max_size=30))
def test_some_name_is_always_given(word: str) -> None:
    assert "builtin" in nearest(word, ["builtin"])
