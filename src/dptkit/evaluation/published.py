"""THE table of published numbers, as printed, by model and protocol.

Models that are presets go by the preset's name. A number in percent is kept as a share, with the digits it was printed
with, so that "agrees" means: to the printed digits.
"""

from __future__ import annotations

from difflib import get_close_matches

from dptkit.errors import UnknownModelError
from dptkit.evaluation.published_depth_anything import DEPTH_ANYTHING
from dptkit.evaluation.published_row import Printed, PublishedRow

__all__ = ["PUBLISHED", "Printed", "PublishedRow", "published_models", "published_rows"]


def published_rows(model: str, protocol: str | None = None) -> tuple[PublishedRow, ...]:
    """What is published of a model, all of it or by one protocol; empty where that is nothing.

    Raises UnknownModelError for a model of which nothing is published, naming the nearest.
    """
    rows = tuple(row for row in PUBLISHED if row.model == model)
    if not rows:
        names = published_models()
        near = get_close_matches(model, names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        raise UnknownModelError(f"{model}: no published numbers of it; {hint}")
    return tuple(row for row in rows if protocol in (None, row.protocol))


def published_models() -> tuple[str, ...]:
    """Names that `published_rows` knows, in the table's order."""
    return tuple(dict.fromkeys(row.model for row in PUBLISHED))


_ZERO_SHOT = {
    "diw": ("whdr", True), "eth3d": ("abs_rel", False), "sintel": ("abs_rel", False), "kitti": ("delta1_error", True),
    "nyu": ("delta1_error", True), "tum": ("delta1_error", True),
}  # fmt: skip
_TABLE_1 = "DPT (ICCV 2021), Table 1"
_TPAMI = "MiDaS (TPAMI 2020), Table 11"

# model, trained on; DIW, ETH3D, Sintel, KITTI, NYU, TUM
_TABLE_1_ROWS = (
    ("dpt-large", "MIX 6", "10.82 0.089 0.270 8.46 8.32 9.97"),
    ("dpt-hybrid", "MIX 6", "11.06 0.093 0.274 11.56 8.69 10.89"),
    ("midas-v21-384", "MiDaS, ResNeXt101-WSL, MIX 6", "12.95 0.116 0.329 16.08 8.71 12.51"),
    ("midas-mix5", "MiDaS, MIX 5", "12.46 0.129 0.327 23.90 9.55 14.29"),
    ("midas-small", "MiDaS with a ResNet-50, MIX 5", "12.48 0.155 0.330 21.81 15.73 17.00"),
    ("li-megadepth", "Li, MegaDepth", "23.15 0.181 0.385 36.29 27.52 29.54"),
    ("li-mannequin", "Li, Mannequin", "26.52 0.183 0.405 47.94 18.57 17.71"),
    ("wang-wsvd", "Wang, WSVD", "19.09 0.205 0.390 31.92 29.57 20.18"),
    ("xian-redweb", "Xian, ReDWeb", "14.59 0.186 0.422 34.08 27.00 25.02"),
    ("casser-cityscapes", "Casser, Cityscapes", "32.80 0.235 0.422 21.15 39.58 37.18"),
)


def _zero_shot() -> tuple[PublishedRow, ...]:
    rows = []
    for model, trained, texts in _TABLE_1_ROWS:
        for text, (dataset, (metric, percent)) in zip(texts.split(), _ZERO_SHOT.items(), strict=True):
            values = {metric: Printed(text, percent)}
            note = f"trained on {trained}" if trained == "MIX 6" else trained
            citation = _TPAMI if model == "midas-small" else _TABLE_1
            rows.append(PublishedRow(model, f"midas-zero-shot-{dataset}", values, citation, note))
    return tuple(rows)


_README_V31 = "MiDaS v3.1, README"
_HEIGHT = "network input of the model's height, where the protocol has a side of 384"
_SQUARE = "square network input, where the protocol keeps the shape"
_AT_384 = "network input of height 384"

# model, network input where it is not the protocol's; DIW, ETH3D, Sintel, TUM, KITTI, NYU as printed there
# * trained on that data set
_README_V31_ROWS = (
    ("dpt-beit-large-512", _HEIGHT, ".1137 .0659 .2366 6.13 11.56* 1.86*"),
    ("dpt-beit-large-512", _SQUARE, ".1121 .0614 .2090 6.46 5.00* 1.90*"),
    ("dpt-beit-large-512", _AT_384, ".1245 .0681 .2176 6.13 6.28* 2.16*"),
    ("dpt-swin2-large-384", _SQUARE, ".1106 .0732 .2442 8.87 5.84* 2.92*"),
    ("dpt-swin2-base-384", _SQUARE, ".1095 .0790 .2404 8.93 5.97* 3.28*"),
    ("dpt-swin-large-384", _SQUARE, ".1126 .0853 .2428 8.74 6.60* 3.34*"),
    ("dpt-beit-large-384", _HEIGHT, ".1239 .0667 .2545 7.17 9.84* 2.21*"),
    ("dpt-next-vit-large-384", _HEIGHT, ".1031 .0954 .2295 9.21 6.89* 3.47*"),
    ("dpt-beit-base-384", _HEIGHT, ".1159 .0967 .2901 9.88 26.60* 3.91*"),
    ("dpt-large", "", ".1082 .0888 .2697 9.97 8.46 8.32"),
    ("dpt-hybrid", "", ".1106 .0934 .2741 10.89 11.56 8.69"),
    ("midas-v21-384", "", ".1295 .1155 .3285 12.51 16.08 8.71"),
    ("dpt-swin2-tiny-256", _SQUARE, ".1211 .1106 .2868 13.43 10.13* 5.55*"),
    ("midas-v21-small-256", _HEIGHT, ".1344 .1344 .3370 14.53 29.27 13.43"),
    ("dpt-levit-224", _SQUARE, ".1314 .1206 .3148 18.21 15.27* 8.64*"),
)


def _readme_v31() -> tuple[PublishedRow, ...]:
    rows = []
    for model, shape, texts in _README_V31_ROWS:
        for text, dataset in zip(texts.split(), ("diw", "eth3d", "sintel", "tum", "kitti", "nyu"), strict=True):
            metric, _ = _ZERO_SHOT[dataset]
            values = {metric: Printed(text.rstrip("*"), percent=metric == "delta1_error")}
            trained = "trained on this data set, so not zero-shot" if text.endswith("*") else ""
            note = "; ".join(filter(None, (shape, trained)))
            rows.append(PublishedRow(model, f"midas-zero-shot-{dataset}", values, _README_V31, note))
    return tuple(rows)


_NYU = ("delta1", "delta2", "delta3", "abs_rel", "rmse", "log10", "sq_rel", "rmse_log", "silog")
_KITTI = ("delta1", "delta2", "delta3", "abs_rel", "rmse", "rmse_log", "sq_rel", "silog", "log10")
_TABLE_2, _TABLE_3 = "DPT (ICCV 2021), Table 2", "DPT (ICCV 2021), Table 3"
_EVALUATION = "isl-org/DPT, EVALUATION.md"

# model, protocol, citation, columns as above (those of tables have six)
_METRIC_ROWS = (
    ("dorn", "nyu-eigen", _TABLE_2, ".828 .965 .992 .115 .509 .051"),
    ("vnl", "nyu-eigen", _TABLE_2, ".875 .976 .994 .111 .416 .048"),
    ("bts", "nyu-eigen", _TABLE_2, ".885 .978 .994 .110 .392 .047"),
    ("dpt-hybrid-nyu", "nyu-eigen", _TABLE_2, ".904 .988 .998 .110 .357 .045"),
    ("dpt-hybrid-nyu", "nyu-eigen", _EVALUATION, ".904 .988 .998 .109 .357 .045 .054 .129 9.521"),
    ("dpt-hybrid-nyu-new", "nyu-eigen", _EVALUATION, ".905 .988 .998 .109 .357 .045 .055 .129 9.427"),
    ("dorn", "kitti-garg", _TABLE_3, ".932 .984 .994 .072 2.626 .120"),
    ("vnl", "kitti-garg", _TABLE_3, ".938 .990 .998 .072 3.258 .117"),
    ("bts", "kitti-garg", _TABLE_3, ".956 .993 .998 .059 2.756 .096"),
    ("dpt-hybrid-kitti", "kitti-garg", _TABLE_3, ".959 .995 .999 .062 2.573 .092"),
    ("dpt-hybrid-kitti", "kitti-garg", _EVALUATION, ".959 .995 .999 .062 2.575 .092 .222 8.282 .027"),
)


def _metric() -> tuple[PublishedRow, ...]:
    return tuple(
        PublishedRow(
            model, protocol,
            {name: Printed(text) for name, text in zip(_NYU if protocol == "nyu-eigen" else _KITTI, texts.split(),
                                                       strict=False)},
            citation,
        )
        for model, protocol, citation, texts in _METRIC_ROWS
    )  # fmt: skip


_TABLE_4, _TABLE_5 = "DPT (ICCV 2021), Table 4", "DPT (ICCV 2021), Table 5"
_ADE20K, _PASCAL = "ade20k-ms-flip", "pascal-context-59-ms-flip"
_SEGMENTATION_NOTE = "multi-scale inference; scales and windows are not stated in the paper"

# model, protocol, citation; pixAcc, mIoU in percent
_SEGMENTATION_ROWS = (
    ("ocnet-r101", _ADE20K, _TABLE_4, "- 45.45"),
    ("acnet-r101", _ADE20K, _TABLE_4, "81.96 45.90"),
    ("deeplabv3-resnest-101", _ADE20K, _TABLE_4, "82.07 46.91"),
    ("deeplabv3-resnest-200", _ADE20K, _TABLE_4, "82.45 48.36"),
    ("dpt-hybrid-ade20k", _ADE20K, _TABLE_4, "83.11 49.02"),
    ("dpt-large-ade20k", _ADE20K, _TABLE_4, "82.70 47.63"),
    ("ocnet-hrnet-w48", _PASCAL, _TABLE_5, "- 56.2"),
    ("deeplabv3-resnest-200", _PASCAL, _TABLE_5, "82.50 58.37"),
    ("deeplabv3-resnest-269", _PASCAL, _TABLE_5, "83.06 58.92"),
    ("dpt-hybrid-pascal-context", _PASCAL, _TABLE_5, "84.83 60.46"),
)


def _segmentation() -> tuple[PublishedRow, ...]:
    rows = []
    for model, protocol, citation, texts in _SEGMENTATION_ROWS:
        columns = zip(("pixel_accuracy", "mean_iou"), texts.split(), strict=True)
        values = {name: Printed(text, percent=True) for name, text in columns if text != "-"}
        classes = "; 59 classes is our reading, the paper does not say" if protocol == _PASCAL else ""
        note = _SEGMENTATION_NOTE + classes
        rows.append(PublishedRow(model, protocol, values, citation, note))
    return tuple(rows)


PUBLISHED: tuple[PublishedRow, ...] = (
    *_zero_shot(),
    *_metric(),
    *_segmentation(),
    *_readme_v31(),
    *DEPTH_ANYTHING,
)
