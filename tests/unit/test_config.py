"""Specifications survive JSON unchanged, and what is wrong in one is named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dptkit.config import (
    DecoderConfig,
    DepthDecoding,
    DepthHeadConfig,
    HybridConfig,
    LiteConfig,
    ModelConfig,
    ModelSpec,
    PreprocessConfig,
    SegmentationDecoding,
    SegmentationHeadConfig,
    ViTConfig,
    from_json,
    to_json,
)
from dptkit.errors import ConfigError
from dptkit.presets import PRESETS

whole = st.integers(0, 2**40)
real = st.floats(allow_nan=False, allow_infinity=False)
# Lone surrogates have no UTF-8, so no file could hold them.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
colour = st.tuples(*[st.integers(0, 255)] * 3)
pair, triple, quadruple = (st.tuples(*[whole] * n) for n in (2, 3, 4))
real_triple = st.tuples(real, real, real)
encoder = st.one_of(
    st.builds(ViTConfig, whole, whole, whole, quadruple, whole, pair, whole, real),
    st.builds(HybridConfig, whole, whole, whole, pair, whole, triple, pair, whole, real, real),
    st.builds(LiteConfig, whole, whole, whole, pair, pair, whole, real),
)
decoder = st.builds(
    DecoderConfig,
    quadruple,
    st.sampled_from(["ignore", "add", "project"]),
    st.booleans(),
    whole,
    st.booleans(),
    st.booleans(),
)
preprocess = st.builds(
    PreprocessConfig,
    pair,
    st.sampled_from(["minimal", "lower_bound", "upper_bound"]),
    whole,
    st.sampled_from(["cubic", "area"]),
    real_triple,
    real_triple,
    st.none() | whole,
)
depth_decoding = st.builds(
    DepthDecoding,
    st.sampled_from(["inverse_depth", "depth_m"]),
    real,
    real,
    st.none() | real,
)


@st.composite
def specs(draw: Callable[..., Any]) -> ModelSpec:
    if draw(st.booleans()):
        head: Any = draw(st.builds(DepthHeadConfig, whole, st.booleans()))
        decoding: Any = draw(depth_decoding)
    else:
        names = draw(st.lists(text, max_size=5))
        head = SegmentationHeadConfig(len(names), draw(real), draw(st.booleans()))
        decoding = SegmentationDecoding(tuple(names), tuple(draw(colour) for _ in names))
    model = ModelConfig(draw(encoder), draw(decoder), head)
    return ModelSpec(draw(text), model, draw(preprocess), decoding, draw(text), draw(text))


@given(specs())
@settings(deadline=None, max_examples=60)
def test_a_specification_survives_json(spec: ModelSpec) -> None:
    again = from_json(to_json(spec))
    assert again == spec
    assert repr(again) == repr(spec)  # 1 == 1.0 == True, but their texts differ


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name: str) -> None:
    assert from_json(to_json(PRESETS[name].spec)) == PRESETS[name].spec


@pytest.mark.parametrize(("name", "task"), [("dpt-lite", "depth"), ("dpt-large-ade20k", "segmentation")])
def test_task(name: str, task: str) -> None:
    assert PRESETS[name].spec.task == task


def wrong(name: str, path: str, value: object) -> str:
    """A preset's JSON with one entry replaced."""
    document = json.loads(to_json(PRESETS[name].spec))
    *parents, last = path.split(".")
    place = document
    for parent in parents:
        place = place[parent]
    place[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("surprise", 1),
        ("model.surprise", 1),
        ("model.encoder.widht", 1),
        ("model.decoder.features", 256),
        ("model.head.activation", "relu"),
        ("preprocess.crop", True),
        ("decoding.offset", 0.5),
    ],
    ids=lambda value: str(value),
)
def test_an_unknown_key_is_named(path: str, value: object) -> None:
    with pytest.raises(ConfigError, match=re.escape(path.rsplit(".", 1)[-1])) as caught:
        from_json(wrong("dpt-large", path, value), "net.safetensors")
    assert str(caught.value).startswith("net.safetensors: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.encoder.width", "1024"),
        ("model.encoder.width", 1024.5),
        ("model.encoder.width", True),
        ("model.encoder.out_indices", [5, 11, 17]),
        ("model.encoder.kind", "swin"),
        ("model.decoder.readout", "project_all"),
        ("model.decoder.batch_norm", 1),
        ("model.head.kind", "normals"),
        ("model.encoder", None),
        ("preprocess.size", [384]),
        ("preprocess.policy", "Minimal"),
        ("preprocess.long_side_limit", "none"),
        ("decoding.quantity", "disparity"),
        ("decoding.scale", None),
        ("name", 3),
    ],
    ids=lambda value: str(value),
)
def test_a_wrong_type_or_kind_is_named(path: str, value: object) -> None:
    parent = path.split(".")[-2 if path.endswith("kind") else -1]  # a wrong kind is reported at what is of that kind
    with pytest.raises(ConfigError, match=re.escape(parent)) as caught:
        from_json(wrong("dpt-large", path, value), "net.safetensors")
    assert str(caught.value).startswith("net.safetensors: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["name", "model", "preprocess", "decoding", "license", "trained_on"])
def test_a_missing_key_is_named(key: str) -> None:
    document = json.loads(to_json(PRESETS["dpt-large"].spec))
    del document[key]
    with pytest.raises(ConfigError, match=key):
        from_json(json.dumps(document))


@pytest.mark.parametrize("broken", ["", "{", "null", "[]", "3", to_json(PRESETS["dpt-lite"].spec)[:-1]])
def test_what_is_no_specification_is_one_line(broken: str) -> None:
    with pytest.raises(ConfigError, match="where it was: ") as caught:
        from_json(broken, "where it was")
    assert "\n" not in str(caught.value)


def test_a_head_must_be_decoded_as_what_it_is() -> None:
    depth, segmentation = PRESETS["dpt-large"].spec, PRESETS["dpt-large-ade20k"].spec
    with pytest.raises(ConfigError, match="a depth head cannot be decoded as segmentation"):
        ModelSpec("x", depth.model, depth.preprocess, segmentation.decoding, "MIT", "")
    with pytest.raises(ConfigError, match="a segmentation head cannot be decoded as depth"):
        ModelSpec("x", segmentation.model, depth.preprocess, depth.decoding, "MIT", "")


@pytest.mark.parametrize(("names", "colours"), [(149, 149), (150, 149), (149, 150), (151, 151)])
def test_classes_names_and_colours_must_agree(names: int, colours: int) -> None:
    spec = PRESETS["dpt-large-ade20k"].spec
    decoding = SegmentationDecoding(("x",) * names, ((0, 0, 0),) * colours)
    with pytest.raises(ConfigError, match=f"150 classes, {names} names and {colours} colours do not fit"):
        ModelSpec("x", spec.model, spec.preprocess, decoding, "MIT", "")


def test_every_part_is_frozen() -> None:
    def visit(part: object) -> None:
        for field in fields(part):
            with pytest.raises(FrozenInstanceError):
                setattr(part, field.name, None)
            value = getattr(part, field.name)
            if is_dataclass(value):
                visit(value)

    visit(PRESETS["dpt-lite"].spec)
    visit(PRESETS["dpt-hybrid-ade20k"].spec)
    hash(PRESETS["dpt-large-ade20k"].spec)  # tuples all the way down, no list that could be changed
