"""The key tables of the layouts that DPT weights come in. Data: which name is which, and what is left out, why.

- isl: isl-org/DPT and its releases (`pretrained.*`, `scratch.*`, `auxlayer.*`), timm's names inside.
- hf: transformers' DPTForDepthEstimation and DPTForSemanticSegmentation (`dpt.*`, `neck.*`, `head.*`).
- dptkit: our own names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from dptkit.config import HybridConfig, LiteConfig, ModelConfig, SegmentationHeadConfig
from dptkit.errors import WeightsError
from dptkit.model.build import build_model
from dptkit.model.encoders.lite import STAGES
from dptkit.weights.encoder_pairs import hf_encoder_pairs, timm_encoder_pairs
from dptkit.weights.keytable import Drop, KeyTable, Pair

Layout = Literal["dptkit", "isl", "hf"]

# A tensor that only files of this layout have, and all of them do.
_SIGNS: tuple[tuple[str, Layout], ...] = (
    ("fusion.inputs.0.weight", "dptkit"),
    ("scratch.layer1_rn.weight", "isl"),
    ("neck.convs.0.weight", "hf"),
)

_CLASSIFIER = "the encoder's final norm and classifier: DPT taps the blocks before them"
_COARSEST = "residual unit 1 of the coarsest fusion block: it has no skip, so the original stores it and never runs it"
_OLD_TIMM = "buffers and heads that other versions of timm store; recomputed or unused"
IMAGENET_CLASSES = 1000


def detect_layout(names: Iterable[str], where: str = "state dict") -> Layout:
    """The layout that tensor names belong to. Raises WeightsError if none does."""
    present = set(names)
    for sign, layout in _SIGNS:
        if sign in present:
            return layout
    first = ", ".join(sorted(present)[:3]) or "none"
    raise WeightsError(f"{where}: not the weights of a DPT in a known layout (first tensors: {first})")


def build_key_table(config: ModelConfig, layout: Layout) -> KeyTable:
    """The table between our names and `layout` for the network that `config` describes."""
    with torch.device("meta"):
        network = build_model(config).state_dict()
    if layout == "dptkit":
        return KeyTable(layout, network, [Pair(name, name) for name in network])
    if isinstance(config.encoder, LiteConfig):
        raise WeightsError(f"dpt-lite has no {layout} layout: that code never had such an encoder")
    if config.encoder.blocks is not None:
        raise WeightsError(f"a pruned network has no {layout} layout: in that code all blocks have the same sizes")
    if layout == "isl":
        return KeyTable(layout, network, _isl_pairs(config), _isl_drops(config, network))
    return KeyTable(layout, network, _hf_pairs(config), _hf_drops(config, network))


def _isl_pairs(config: ModelConfig) -> list[Pair]:
    pairs = timm_encoder_pairs(config.encoder, "pretrained.model.")
    for k in range(4):
        ours, theirs = f"reassemble.stages.{k}", f"pretrained.act_postprocess{k + 1}"
        pairs += [
            Pair(f"{ours}.read.project", f"{theirs}.0.project.0"),
            Pair(f"{ours}.projection", f"{theirs}.3"),
            Pair(f"{ours}.resample", f"{theirs}.4"),
            Pair(f"fusion.inputs.{k}", f"scratch.layer{k + 1}_rn"),
        ]
        ours, theirs = f"fusion.blocks.{k}", f"scratch.refinenet{4 - k}"
        pairs.append(Pair(f"{ours}.projection", f"{theirs}.out_conv"))
        for unit in (1, 2):
            for n in (1, 2):
                pairs += [
                    Pair(f"{ours}.unit{unit}.conv{n}", f"{theirs}.resConfUnit{unit}.conv{n}"),
                    Pair(f"{ours}.unit{unit}.norm{n}", f"{theirs}.resConfUnit{unit}.bn{n}"),
                ]
    return pairs + _head_pairs(config, "scratch.output_conv", "auxlayer")


def _head_pairs(config: ModelConfig, head: str, auxiliary: str) -> list[Pair]:
    if isinstance(config.head, SegmentationHeadConfig):
        layers = {"conv": 0, "norm": 1, "classifier": 4}
        return [
            Pair(f"{ours}.{layer}", f"{theirs}.{index}")
            for ours, theirs in (("head", head), ("auxiliary_head", auxiliary))
            for layer, index in layers.items()
        ]
    return [Pair(f"head.conv{n}", f"{head}.{index}") for n, index in ((1, 0), (2, 2), (3, 4))]


def _coarsest_unit(
    network: Mapping[str, Tensor], theirs: str, parts: Mapping[str, str]
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and shapes of the coarsest block's unused unit: those of the next block's used one."""
    ours = "fusion.blocks.1.unit1."
    return tuple(
        (f"{theirs}.{parts[name.removeprefix(ours).split('.')[0]]}.{name.rsplit('.', 1)[1]}", tuple(tensor.shape))
        for name, tensor in network.items()
        if name.startswith(ours)
    )


def _isl_drops(config: ModelConfig, network: Mapping[str, Tensor]) -> list[Drop]:
    width = config.encoder.width
    unit = _coarsest_unit(
        network,
        "scratch.refinenet4.resConfUnit1",
        {"conv1": "conv1", "conv2": "conv2", "norm1": "bn1", "norm2": "bn2"},
    )
    classifier = (
        ("pretrained.model.norm.weight", (width,)),
        ("pretrained.model.norm.bias", (width,)),
        ("pretrained.model.head.weight", (IMAGENET_CLASSES, width)),
        ("pretrained.model.head.bias", (IMAGENET_CLASSES,)),
    )
    return [
        Drop(r"scratch\.refinenet4\.resConfUnit1\..*", _COARSEST, unit),
        Drop(r"pretrained\.model\.(norm|head|fc_norm|head_dist|pre_logits)\..*", _CLASSIFIER, classifier),
        Drop(r".*\.(relative_position_index|attn_mask|activation_post_process\..*)", _OLD_TIMM),
    ]


def _hf_pairs(config: ModelConfig) -> list[Pair]:
    hybrid = isinstance(config.encoder, HybridConfig)
    embeddings = "dpt.embeddings"
    patches = f"{embeddings}.projection" if hybrid else f"{embeddings}.patch_embeddings.projection"
    pairs = hf_encoder_pairs(config.encoder, "dpt.", patches, f"{embeddings}.backbone")
    for k in range(4):
        theirs = f"neck.reassemble_stage.layers.{k}"
        pairs += [
            Pair(f"reassemble.stages.{k}.read.project", f"neck.reassemble_stage.readout_projects.{k}.0"),
            Pair(f"reassemble.stages.{k}.projection", f"{theirs}.projection"),
            Pair(f"reassemble.stages.{k}.resample", f"{theirs}.resize"),
            Pair(f"fusion.inputs.{k}", f"neck.convs.{k}"),
            Pair(f"fusion.blocks.{k}.projection", f"neck.fusion_stage.layers.{k}.projection"),
        ]
        for unit in (1, 2):
            ours, theirs = f"fusion.blocks.{k}.unit{unit}", f"neck.fusion_stage.layers.{k}.residual_layer{unit}"
            for n in (1, 2):
                pairs += [
                    Pair(f"{ours}.conv{n}", f"{theirs}.convolution{n}"),
                    Pair(f"{ours}.norm{n}", f"{theirs}.batch_norm{n}"),
                ]
    return pairs + _head_pairs(config, "head.head", "auxiliary_head.head")


def _hf_drops(config: ModelConfig, network: Mapping[str, Tensor]) -> list[Drop]:
    unit = _coarsest_unit(
        network,
        "neck.fusion_stage.layers.0.residual_layer1",
        {"conv1": "convolution1", "conv2": "convolution2", "norm1": "batch_norm1", "norm2": "batch_norm2"},
    )
    norm = tuple((f"dpt.layernorm.{name}", (config.encoder.width,)) for name in ("weight", "bias"))
    return [
        Drop(r"neck\.fusion_stage\.layers\.0\.residual_layer1\..*", _COARSEST, unit),
        Drop(r"dpt\.(layernorm|pooler)\..*", _CLASSIFIER, norm),
    ]


def lite_stem_pairs(conv: str, norm: str, blocks: str, stages: int = 5) -> list[Pair]:
    """EfficientNet-Lite0's first stages as efficientnet_lite_pytorch names them, under a prefix of its own."""
    pairs = [Pair("encoder.stem.conv.conv", conv), Pair("encoder.stem.conv.norm", norm)]
    ours = [f"encoder.stem.stages.{stage}.{n}" for stage in range(stages) for n in range(STAGES[stage].blocks)]
    for index, block in enumerate(ours):
        for k, part in enumerate(("expand", "depthwise", "project")):
            pairs += [
                Pair(f"{block}.{part}.conv", f"{blocks}.{index}._{part}_conv"),
                Pair(f"{block}.{part}.norm", f"{blocks}.{index}._bn{k}"),
            ]
    return pairs
