"""THE table of data sets, by name: what each is, where it is from, and what opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dptkit.data.ade20k import open_ade20k
from dptkit.data.apolloscape import open_apolloscape
from dptkit.data.blendedmvs import open_blendedmvs
from dptkit.data.camvid import open_camvid
from dptkit.data.da2k import open_da2k
from dptkit.data.ddad import open_ddad
from dptkit.data.diml import open_diml
from dptkit.data.diode import SPLITS as DIODE_SPLITS
from dptkit.data.diode import open_diode
from dptkit.data.diw import open_diw
from dptkit.data.eth3d import open_eth3d
from dptkit.data.folder import open_labels, open_manifest, open_pairs
from dptkit.data.hypersim import SPLIT_FILE, open_hypersim
from dptkit.data.ibims import LIST, open_ibims
from dptkit.data.irs import open_irs
from dptkit.data.kitti import VIDEOS, open_kitti, open_kitti_bts
from dptkit.data.megadepth import open_megadepth
from dptkit.data.nyu import LABELLED, open_nyu, open_nyu_bts
from dptkit.data.nyu_video import open_nyu_video
from dptkit.data.own_folder import SPLITS, open_folder
from dptkit.data.pascal_context import open_pascal_context
from dptkit.data.rendered import open_rendered
from dptkit.data.rendered_clips import open_rendered_clips
from dptkit.data.sample import Dataset, OrdinalDataset
from dptkit.data.scannet import open_scannet
from dptkit.data.shards import INDEX, open_shards
from dptkit.data.sintel import open_sintel
from dptkit.data.sun_rgbd import FOLDER as SUN_RGBD
from dptkit.data.sun_rgbd import open_sun_rgbd
from dptkit.data.tartanair import open_tartanair
from dptkit.data.tum import open_bonn, open_tum
from dptkit.data.unlabelled import open_pictures
from dptkit.data.vkitti2 import open_vkitti2
from dptkit.data.web_stereo import open_hrwsi, open_redweb, open_wsvd


@dataclass(frozen=True)
class DatasetEntry:
    """A data set by name. open: (root, split, options by keyword).

    splits: those it has; of your own folders they are found by `splits_of`. kind: what its samples are, `Sample` or
        `OrdinalSample`, which only `open_ordinal_dataset` opens.
    marks: files and folders that are all there where it is, for `detect_dataset`; of a pattern with * any that fits.
    expected: samples of a split, where whoever distributes it or its usual evaluation says so.
    """

    name: str
    description: str
    licence: str
    url: str
    open: Callable[..., Dataset | OrdinalDataset]
    splits: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    expected: Mapping[str, int] = field(default_factory=dict)
    kind: Literal["dense", "ordinal"] = "dense"


_ENTRIES = (
    DatasetEntry("manifest", "your folder with manifest.csv", "yours", "", open_manifest, marks=("manifest.csv",)),
    DatasetEntry("pairs", "your pictures and ground truth, paired by name", "yours", "", open_pairs),
    DatasetEntry("folder", "your pictures and depth, whichever of the two", "yours", "", open_folder, SPLITS),
    DatasetEntry("labels", "your pictures with class ids", "yours", "", open_labels, marks=("classes.txt",)),
    DatasetEntry("pictures", "your pictures, without ground truth", "yours", "", open_pictures),
    DatasetEntry("rendered", "scenes written by dpt data render", "yours", "", open_rendered),
    DatasetEntry(
        "rendered-clips", "clips written by dpt data render --frames, with cameras", "yours", "", open_rendered_clips,
        marks=("clips/clip-*",),
    ),
    DatasetEntry("shards", "WebDataset shards of any data set", "the data set's", "", open_shards, marks=(INDEX,)),
    DatasetEntry(
        "nyuv2", "indoor, Kinect, metres: the labelled set", "none stated; research",
        "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html", open_nyu, ("train", "test", "all"), (LABELLED,),
        {"train": 795, "test": 654, "all": 1449},
    ),
    DatasetEntry(
        "nyuv2-bts", "NYUv2 as BTS distributes it", "none stated; research", "https://github.com/cleinc/bts",
        open_nyu_bts, ("train", "test"), ("official_splits",), {"train": 24_231, "test": 654},
    ),
    DatasetEntry(
        "nyuv2-video", "NYUv2's raw sequences as videos, eight scenes", "none stated; research",
        "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html", open_nyu_video, ("benchmark", "all"),
        ("basement_0001a/rgb", "basement_0001a/depth"),
    ),
    DatasetEntry(
        "kitti", "driving, LiDAR, metres: Eigen's split, improved ground truth", "CC BY-NC-SA 3.0",
        "https://www.cvlibs.net/datasets/kitti/eval_depth.php", open_kitti, ("train", "test", VIDEOS),
        ("raw", "data_depth_annotated"), {"test": 652},
    ),
    DatasetEntry(
        "kitti-bts", "KITTI in BTS's folders", "CC BY-NC-SA 3.0", "https://github.com/cleinc/bts",
        open_kitti_bts, ("train", "test", VIDEOS), ("data_depth_annotated",), {"test": 652},
    ),
    DatasetEntry(
        "diode", "indoors and outdoors, laser scanner, metres", "MIT", "https://diode-dataset.org", open_diode,
        DIODE_SPLITS, ("val/*/scene_*",),
        {"train": 25_458, "train-indoors": 8574, "train-outdoor": 16_884, "val": 771, "val-indoors": 325,
         "val-outdoor": 446},
    ),
    DatasetEntry(
        "ibims-1", "indoor, laser scanner, metres, sharp edges", "see its page", "https://www.bgu.tum.de/lmf/ibims1",
        open_ibims, ("test",), (LIST, "ibims1_core_*"), {"test": 100},
    ),
    DatasetEntry(
        "sun-rgbd", "indoor, four depth cameras, metres", "none stated; research", "https://rgbd.cs.princeton.edu",
        open_sun_rgbd, ("train", "test"), (SUN_RGBD,), {"train": 5285, "test": 5050},
    ),
    DatasetEntry(
        "ade20k", "150 classes, SceneParsing", "pictures: non-commercial research; labels: BSD-3-Clause",
        "http://sceneparsing.csail.mit.edu", open_ade20k, ("train", "val"), ("annotations/training", "images/training"),
        {"train": 20_210, "val": 2000},
    ),
    DatasetEntry(
        "pascal-context", "59 classes", "pictures: Flickr's terms; labels: none stated",
        "https://www.cs.stanford.edu/~roozbeh/pascal-context", open_pascal_context, ("train", "val"),
        ("SegmentationClassContext",), {"train": 4998, "val": 5105},
    ),
    DatasetEntry(
        "camvid", "driving, 11 classes", "CC BY-NC 4.0", "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid",
        open_camvid, ("train", "val", "test"), ("trainannot", "testannot"), {"train": 367, "val": 101, "test": 233},
    ),
    DatasetEntry(
        "redweb", "web stereo, relative inverse depth", "none stated; research",
        "https://sites.google.com/site/redwebcvpr18", open_redweb, ("train",), ("Imgs", "RDs"),
    ),
    DatasetEntry(
        "hrwsi", "web stereo, relative inverse depth", "none stated; research",
        "https://github.com/KexianHust/Structure-Guided-Ranking-Loss", open_hrwsi, ("train", "val"),
        ("train/imgs", "train/valid_masks"), {"train": 20_378, "val": 400},
    ),
    DatasetEntry(
        "wsvd", "stereo videos; frames and disparity are yours to make", "each video's",
        "https://sites.google.com/view/wsvd/home", open_wsvd, ("train", "test"),
    ),
    DatasetEntry(
        "megadepth", "landmarks, multi-view stereo, relative", "see its page",
        "https://www.cs.cornell.edu/projects/megadepth", open_megadepth, ("train",), ("phoenix",),
    ),
    DatasetEntry(
        "diml-indoor", "indoor, Kinect v2, metres", "research, see its page", "https://dimlrgbd.github.io", open_diml,
        ("train", "test"), ("train/HR",),
    ),
    DatasetEntry(
        "blendedmvs", "reconstructed scenes, relative", "CC BY 4.0", "https://github.com/YoYo000/BlendedMVS",
        open_blendedmvs, ("train", "val", "all"), ("validation_list.txt",),
    ),
    DatasetEntry(
        "tartanair", "rendered worlds, 1 / metres", "CC BY 4.0", "https://theairlab.org/tartanair-dataset",
        open_tartanair, ("train",),
    ),
    DatasetEntry(
        "irs", "rendered rooms, disparity", "none stated; research", "https://github.com/blackjack2015/IRS", open_irs,
        ("train", "test"), ("IRSDataset",),
    ),
    DatasetEntry(
        "apolloscape", "driving, disparity", "ApolloScape's, research", "http://apolloscape.auto/stereo.html",
        open_apolloscape, ("train",), ("stereo_train_001",),
    ),
    DatasetEntry(
        "diw", "web pictures, which of two points is nearer", "none stated; research",
        "https://www-personal.umich.edu/~wfchen/depth-in-the-wild", open_diw, ("train", "val", "test"),
        ("DIW_test.csv",), {"test": 74_441}, "ordinal",
    ),
    DatasetEntry(
        "da-2k", "sharp varied pictures, which of two points is nearer", "Apache-2.0",
        "https://huggingface.co/datasets/depth-anything/DA-2K", open_da2k, ("test",),
        ("annotations.json", "images/transparent_reflective"), kind="ordinal",
    ),
    DatasetEntry(
        "eth3d", "laser-scanned scenes, 24 megapixels, metres", "CC BY-NC-SA 4.0", "https://www.eth3d.net/datasets",
        open_eth3d, ("train",), ("courtyard/ground_truth_depth",), {"train": 454},
    ),
    DatasetEntry(
        "sintel", "animated film, exact depth", "none stated; the film: CC BY 3.0",
        "http://sintel.is.tue.mpg.de/depth", open_sintel, ("train",), ("training/depth",), {"train": 1064},
    ),
    DatasetEntry(
        "tum", "indoor, Kinect, metres: people who move", "CC BY 4.0",
        "https://cvg.cit.tum.de/data/datasets/rgbd-dataset", open_tum, ("dynamic", "all"),
        ("rgbd_dataset_freiburg3_walking_xyz",),
    ),
    DatasetEntry(
        "bonn", "indoor, RGB-D videos with people and things that move, metres", "none stated; research",
        "https://www.ipb.uni-bonn.de/data/rgbd-dynamic-dataset", open_bonn, ("all",), ("rgbd_bonn_balloon",),
    ),
    DatasetEntry(
        "scannet", "indoor, RGB-D videos with cameras, metres", "ScanNet Terms of Use, research",
        "http://www.scan-net.org", open_scannet, ("all", "list"), ("scene*/color", "scene*/depth"),
    ),
    DatasetEntry(
        "ddad", "driving, six cameras, dense LiDAR to 250 m", "CC BY-NC-SA 4.0", "https://github.com/TRI-ML/DDAD",
        open_ddad, ("train", "val"), ("ddad.json",), {"train": 12_650, "val": 3950},
    ),
    DatasetEntry(
        "vkitti2", "rendered driving, exact depth, metres", "CC BY-NC-SA 3.0",
        "https://europe.naverlabs.com/research/computer-vision/proxy-virtual-worlds-vkitti-2", open_vkitti2, ("all",),
        ("Scene01", "Scene02"),
    ),
    DatasetEntry(
        "hypersim", "rendered rooms, exact depth, metres", "CC BY-SA 3.0", "https://github.com/apple/ml-hypersim",
        open_hypersim, ("train", "val", "test"), (SPLIT_FILE,),
    ),
)  # fmt: skip

DATASETS: dict[str, DatasetEntry] = {entry.name: entry for entry in _ENTRIES}
"""By name. 3D Movies, the tenth of MIX 6, is not among them: its frames come from films and were never released."""
