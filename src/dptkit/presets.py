"""The ONE table of published models: name -> specification, weight sources, size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches

from dptkit.config import (
    DecoderConfig,
    DepthDecoding,
    DepthHeadConfig,
    EncoderConfig,
    HybridConfig,
    LiteConfig,
    ModelConfig,
    ModelSpec,
    PreprocessConfig,
    SegmentationDecoding,
    SegmentationHeadConfig,
    ViTConfig,
)
from dptkit.errors import UnknownModelError
from dptkit.label_sets import ADE20K_150, CAMVID_11
from dptkit.source import WeightSource


@dataclass(frozen=True)
class Preset:
    """A published model.

    parameters: of the network as built here, without weights that are stored upstream but never used.
    sources: where its weights are published, the preferred one first.
    bundled: file name inside the package, for models that ship with it.
    """

    spec: ModelSpec
    parameters: int
    sources: tuple[WeightSource, ...] = ()
    bundled: str | None = None

    @property
    def name(self) -> str:
        return self.spec.name


VIT_BASE = ViTConfig(width=768, depth=12, heads=12, out_indices=(2, 5, 8, 11))
VIT_LARGE = ViTConfig(width=1024, depth=24, heads=16, out_indices=(5, 11, 17, 23))

_BASE_CHANNELS = (96, 192, 384, 768)
_LARGE_CHANNELS = (256, 512, 1024, 1024)
_HYBRID_CHANNELS = (256, 512, 768, 768)

DPT_BASE = ModelConfig(VIT_BASE, DecoderConfig(_BASE_CHANNELS), DepthHeadConfig())
"""DPT-Base of the paper's ablations. No weights of it were ever published."""

DPT_LARGE = ModelConfig(VIT_LARGE, DecoderConfig(_LARGE_CHANNELS), DepthHeadConfig())
DPT_HYBRID = ModelConfig(HybridConfig(), DecoderConfig(_HYBRID_CHANNELS), DepthHeadConfig())
DPT_LARGE_ADE20K = ModelConfig(
    VIT_LARGE, DecoderConfig(_LARGE_CHANNELS, batch_norm=True), SegmentationHeadConfig(classes=150)
)
DPT_HYBRID_ADE20K = ModelConfig(
    HybridConfig(), DecoderConfig(_HYBRID_CHANNELS, batch_norm=True), SegmentationHeadConfig(classes=150)
)
_LITE_ENCODER = LiteConfig(stem_stages=6)
_LITE_DECODER = DecoderConfig((24, 40, 192, 192), projection=False, fusion_channels=64, align_corners=False)
DPT_LITE = ModelConfig(_LITE_ENCODER, _LITE_DECODER, DepthHeadConfig(non_negative=False))
DPT_LITE_STREET = ModelConfig(_LITE_ENCODER, _LITE_DECODER, SegmentationHeadConfig(classes=11))

# isl-org/DPT run_monodepth.py and run_segmentation.py: network sizes; all transformers take (x - 0.5) / 0.5.
_MONODEPTH = PreprocessConfig(size=(384, 384))
_NYU = PreprocessConfig(size=(480, 640))
_KITTI = PreprocessConfig(size=(352, 1216))
_SEGMENTATION = PreprocessConfig(size=(480, 480))
# dpt-lite learned from crops of at most 160x384 and 224x288: much longer pictures are better made smaller, 160x480
# where a height of 224 would make 224x736 (docs/models/dpt-lite.md).
_LITE = PreprocessConfig(
    size=(224, 224),
    policy="lower_bound",
    interpolation="area",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    long_side_limit=480,
)
_LITE_STREET = replace(_LITE, size=(480, 640), policy="minimal", long_side_limit=1024)

_RELATIVE = DepthDecoding("inverse_depth")
# isl-org/DPT run_monodepth.py: scale and shift live in its code, not in the checkpoints. Caps: the paper's
# evaluation ranges (EVALUATION.md).
_NYU_METRES = DepthDecoding("depth_m", scale=0.000305, shift=0.1378, cap_m=10.0)
_KITTI_METRES = DepthDecoding("depth_m", scale=0.00006016, shift=0.00579, cap_m=80.0)
_ADE20K = SegmentationDecoding(ADE20K_150.names, ADE20K_150.palette)
_CAMVID = SegmentationDecoding(CAMVID_11.names, CAMVID_11.palette)

_MIX6 = "MIX 6: ten depth data sets, 1.4 million pictures"
_ORIGINAL = "https://github.com/isl-org/DPT/releases/download/1_0/"
_HUB = "https://huggingface.co/Intel/"


def _original(filename: str, sha256_prefix: str) -> WeightSource:
    return WeightSource(filename, _ORIGINAL + filename, "isl", sha256=sha256_prefix)


def _hub(repository: str) -> WeightSource:
    return WeightSource(f"{repository}.safetensors", f"{_HUB}{repository}/resolve/main/model.safetensors", "hf")


@dataclass(frozen=True)
class EncoderWeights:
    """A published ImageNet classifier that an encoder can start from."""

    source: WeightSource
    license: str


def _classifier(repository: str) -> EncoderWeights:
    address = f"https://huggingface.co/google/{repository}/resolve/main/model.safetensors"
    return EncoderWeights(WeightSource(f"{repository}.safetensors", address, "hf"), "Apache-2.0")


def _deit(filename: str, sha256_prefix: str) -> EncoderWeights:
    address = f"https://dl.fbaipublicfiles.com/deit/{filename}"
    return EncoderWeights(WeightSource(filename, address, "timm", sha256=sha256_prefix), "Apache-2.0")


IMAGENET_ENCODERS: dict[EncoderConfig, EncoderWeights] = {
    VIT_BASE: _classifier("vit-base-patch16-384"),
    VIT_LARGE: _classifier("vit-large-patch16-384"),
    HybridConfig(): _classifier("vit-hybrid-base-bit-384"),
}
"""What the paper's encoders start from: ImageNet-21k, then ImageNet at 384 pixels (paper section 4)."""

DEIT_ENCODERS: dict[EncoderConfig, EncoderWeights] = {
    VIT_BASE: _deit("deit_base_patch16_384-8de9b5d1.pth", "8de9b5d1"),
    replace(VIT_BASE, prefix_tokens=2): _deit("deit_base_distilled_patch16_384-d0272ac0.pth", "d0272ac0"),
}
"""ViT-Base trained on ImageNet alone (facebookresearch/deit), without and with a distillation token (Table 8)."""

_TABLE = (
    Preset(
        ModelSpec(
            "dpt-lite",
            DPT_LITE,
            _LITE,
            _RELATIVE,
            license="MIT",
            trained_on="scenes rendered by the authors and 297 permissively licensed pictures with depth; "
            "stem from ImageNet weights (EfficientNet-Lite0, Apache-2.0)",
        ),
        parameters=5_528_673,
        bundled="dpt-lite.safetensors",
    ),
    Preset(
        ModelSpec(
            "dpt-lite-street",
            DPT_LITE_STREET,
            _LITE_STREET,
            _CAMVID,
            license="CC-BY-NC-4.0",
            trained_on="CamVid, train and val (CC BY-NC 4.0: personal and research use), from dpt-lite",
        ),
        parameters=5_576_342,
        bundled="dpt-lite-street.safetensors",
    ),
    Preset(
        ModelSpec("dpt-large", DPT_LARGE, _MONODEPTH, _RELATIVE, license="MIT", trained_on=_MIX6),
        parameters=341_848_257,
        sources=(_original("dpt_large-midas-2f21e586.pt", "2f21e586"), _hub("dpt-large")),
    ),
    Preset(
        ModelSpec("dpt-hybrid", DPT_HYBRID, _MONODEPTH, _RELATIVE, license="MIT", trained_on=_MIX6),
        parameters=121_196_289,
        sources=(_original("dpt_hybrid-midas-501f0c75.pt", "501f0c75"), _hub("dpt-hybrid-midas")),
    ),
    Preset(
        ModelSpec(
            "dpt-hybrid-nyu",
            DPT_HYBRID,
            _NYU,
            _NYU_METRES,
            license="MIT",
            trained_on="MIX 6, then NYUv2 (indoor, metric)",
        ),
        parameters=121_196_289,
        sources=(_original("dpt_hybrid_nyu-2ce69ec7.pt", "2ce69ec7"),),
    ),
    Preset(
        ModelSpec(
            "dpt-hybrid-nyu-new",
            DPT_HYBRID,
            _NYU,
            _NYU_METRES,
            license="MIT",
            trained_on="MIX 6, then NYUv2 (indoor, metric), trained again by the authors",
        ),
        parameters=121_196_289,
        sources=(
            WeightSource(
                "dpt_hybrid_nyu_new-217f207d.pt",
                None,
                "isl",
                sha256="217f207d",
                manual="Download dpt_hybrid_nyu_new-217f207d.pt from Google Drive, "
                "file id 1Nxv2OiqhAMosBL2a3pflamTW39dMjaSp.",
            ),
        ),
    ),
    Preset(
        ModelSpec(
            "dpt-hybrid-kitti",
            DPT_HYBRID,
            _KITTI,
            _KITTI_METRES,
            license="MIT",
            trained_on="MIX 6, then KITTI (driving, metric)",
        ),
        parameters=121_196_289,
        sources=(_original("dpt_hybrid_kitti-cb926ef4.pt", "cb926ef4"),),
    ),
    Preset(
        ModelSpec("dpt-large-ade20k", DPT_LARGE_ADE20K, _SEGMENTATION, _ADE20K, license="MIT", trained_on="ADE20K"),
        parameters=342_777_644,
        sources=(_original("dpt_large-ade20k-b12dca68.pt", "b12dca68"), _hub("dpt-large-ade")),
    ),
    Preset(
        ModelSpec("dpt-hybrid-ade20k", DPT_HYBRID_ADE20K, _SEGMENTATION, _ADE20K, license="MIT", trained_on="ADE20K"),
        parameters=122_125_676,
        sources=(_original("dpt_hybrid-ade20k-53898607.pt", "53898607"),),
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _TABLE}
"""Every published model by name."""

UNPUBLISHED: dict[str, ModelSpec] = {
    "dpt-base": ModelSpec(
        "dpt-base", DPT_BASE, _MONODEPTH, _RELATIVE, license="unstated", trained_on="nothing: an architecture"
    ),
}
"""Architectures of the paper that can be trained, of which no weights were published."""

DEFAULT_MODELS = {"depth": "dpt-lite", "segmentation": "dpt-hybrid-ade20k"}


def find_preset(name: str) -> Preset:
    """The preset of that name. Raises UnknownModelError naming the nearest one."""
    if name in PRESETS:
        return PRESETS[name]
    near = get_close_matches(name, PRESETS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"known models: {', '.join(PRESETS)}"
    raise UnknownModelError(f"{name}: no such model or file; {hint}")


def find_architecture(name: str) -> ModelSpec:
    """What a published model is, or one of `UNPUBLISHED`. Raises UnknownModelError naming the nearest one."""
    if name in UNPUBLISHED:
        return UNPUBLISHED[name]
    near = get_close_matches(name, [*PRESETS, *UNPUBLISHED], n=1, cutoff=0.4)
    if name not in PRESETS and near:
        raise UnknownModelError(f"{name}: no such model; did you mean {near[0]}?")
    return find_preset(name).spec
