"""Published numbers of Depth Anything, its second version and its video model; see `dptkit.evaluation.published`.

Relative depth (Table 2 of both) is as in LiheYoung/Depth-Anything README.md (commit 05ab5291) and, for V2, as in a
transcription of the paper. How it was scored is not published, so these rows stand beside the nearest protocol: V1's
authors say that scale and shift are aligned, and that disparity is compared "without converting it back to the depth
space" (LiheYoung/Depth-Anything#174). V1's sixth data set, DDAD, has no protocol that aligns, and is left out.
"""

from __future__ import annotations

from dptkit.evaluation.published_row import Printed, PublishedRow

_V1, _V2 = "Depth Anything (arXiv 2401.10891)", "Depth Anything V2 (arXiv 2406.09414)"
_VIDEO = "Video Depth Anything (arXiv 2501.12375), single pictures"
_FINE_TUNED = "fine-tuned on this data set, in ZoeDepth's framework"

# model, protocol, metrics, as printed, citation, note
_ROWS = (
    ("depth-anything-v2-small", "da-2k", "pairwise_accuracy%", "95.3", _V2 + ", Table 3", ""),
    ("depth-anything-v2-base", "da-2k", "pairwise_accuracy%", "97.0", _V2 + ", Table 3", ""),
    ("depth-anything-v2-large", "da-2k", "pairwise_accuracy%", "97.1", _V2 + ", Table 3", ""),
    ("depth-anything-v2-giant", "da-2k", "pairwise_accuracy%", "97.4", _V2 + ", Table 3", "weights not released"),
    ("depth-anything-v1-large", "da-2k", "pairwise_accuracy%", "88.5", _V2 + ", Table 3", ""),
    ("marigold", "da-2k", "pairwise_accuracy%", "86.8", _V2 + ", Table 3", ""),
    ("depthfm", "da-2k", "pairwise_accuracy%", "85.8", _V2 + ", Table 3", ""),
    *(
        (f"depth-anything-v2-metric-{size}-{data}", f"zoedepth-{data}",
         f"delta1 delta2 delta3 abs_rel rmse {last}", texts, _V2 + ", Table 4", _FINE_TUNED)
        for data, last, size, texts in (
            ("nyu", "log10", "small", ".961 .996 .999 .073 .261 .032"),
            ("nyu", "log10", "base", ".977 .997 1.000 .063 .228 .027"),
            ("nyu", "log10", "large", ".984 .998 1.000 .056 .206 .024"),
            ("kitti", "rmse_log", "small", ".973 .997 .999 .053 2.235 .081"),
            ("kitti", "rmse_log", "base", ".979 .998 1.000 .048 1.999 .072"),
            ("kitti", "rmse_log", "large", ".983 .998 1.000 .045 1.861 .067"),
        )
    ),
    *(
        ("depth-anything-v1-metric-large", f"zoedepth-{data}", "delta1 abs_rel rmse", texts,
         _V1 + ", Tables 3 and 4", _FINE_TUNED)
        for data, texts in (("nyu", ".984 .056 .206"), ("kitti", ".982 .046 1.896"))
    ),
    *(
        (f"depth-anything-v1-metric-{place}", f"zoedepth-{data}", "abs_rel delta1", texts,
         _V1 + ", Table 5", f"fine-tuned on {trained}, zero-shot here")
        for place, trained, data, texts in (
            ("indoor", "NYUv2", "sunrgbd", ".500 .660"),
            ("indoor", "NYUv2", "ibims1", ".150 .714"),
            ("indoor", "NYUv2", "hypersim", ".363 .361"),
            ("outdoor", "KITTI", "vkitti2", ".085 .913"),
            ("outdoor", "KITTI", "diode-outdoor", ".794 .288"),
        )
    ),
)  # fmt: skip

_UNKNOWN = (
    "which pictures, crop and cap is not published; V1's authors say they compare disparity, not depth: then AbsRel "
    "there is another quantity, and only δ1 compares"
)
_TRAINED = "trained on this data set, so not zero-shot; "
_RELATIVE_PROTOCOLS = (
    "midas-zero-shot-kitti", "midas-zero-shot-nyu", "midas-zero-shot-sintel", "midas-zero-shot-eth3d",
    "marigold-disparity-diode",
)  # fmt: skip

# model, citation; AbsRel and δ1 on KITTI, NYUv2, Sintel, ETH3D, DIODE
_RELATIVE_ROWS = (
    ("dpt-beit-large-512", _V1 + ", Table 2", "0.127/0.850 0.048/0.980 0.587/0.699 0.139/0.867 0.075/0.942"),
    ("depth-anything-v1-small", _V1 + ", Table 2", "0.080/0.936 0.053/0.972 0.464/0.739 0.127/0.885 0.076/0.939"),
    ("depth-anything-v1-base", _V1 + ", Table 2", "0.080/0.939 0.046/0.979 0.432/0.756 0.126/0.884 0.069/0.946"),
    ("depth-anything-v1-large", _V1 + ", Table 2", "0.076/0.947 0.043/0.981 0.458/0.760 0.127/0.882 0.066/0.952"),
    ("depth-anything-v2-small", _V2 + ", Table 2", "0.078/0.936 0.053/0.973 0.500/0.718 0.142/0.851 0.073/0.942"),
    ("depth-anything-v2-base", _V2 + ", Table 2", "0.078/0.939 0.049/0.976 0.495/0.734 0.137/0.858 0.068/0.950"),
    ("depth-anything-v2-large", _V2 + ", Table 2", "0.074/0.946 0.045/0.979 0.487/0.752 0.131/0.865 0.066/0.952"),
    ("depth-anything-v2-giant", _V2 + ", Table 2", "0.075/0.948 0.044/0.979 0.506/0.772 0.132/0.862 0.065/0.954"),
    ("video-depth-anything-large", _VIDEO, "0.075/0.946 0.046/0.978 0.496/0.754 0.132/0.863 0.067/0.950"),
)


def _relative() -> tuple[PublishedRow, ...]:
    rows = []
    for model, citation, texts in _RELATIVE_ROWS:
        for protocol, text in zip(_RELATIVE_PROTOCOLS, texts.split(), strict=True):
            abs_rel, delta1 = text.split("/")
            seen = model == "dpt-beit-large-512" and protocol.endswith(("kitti", "nyu"))
            note = (_TRAINED if seen else "") + _UNKNOWN
            values = {"abs_rel": Printed(abs_rel), "delta1": Printed(delta1)}
            rows.append(PublishedRow(model, protocol, values, citation, note))
    return tuple(rows)


def _other() -> tuple[PublishedRow, ...]:
    rows = []
    for model, protocol, names, texts, citation, note in _ROWS:
        pairs = zip(names.split(), texts.split(), strict=True)
        values = {name.rstrip("%"): Printed(text, percent=name.endswith("%")) for name, text in pairs}
        rows.append(PublishedRow(model, protocol, values, citation, note))
    return tuple(rows)


DEPTH_ANYTHING = (*_relative(), *_other())
