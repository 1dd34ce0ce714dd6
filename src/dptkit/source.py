"""Where a weight file is published, and how to recognise it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from dptkit.errors import WeightsError

Layout = Literal["isl", "hf", "timm", "dptkit"]

# The cache keeps its own files beside the weights, so their endings are not free for use.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_OWN_ENDINGS = (".part", ".part.json", ".lock", ".sha256", ".broken", ".tmp")


@dataclass(frozen=True)
class WeightSource:
    """One published weight file.

    filename: name in the cache, a plain file name, unique over all presets.
    url: http or https address; None if the file cannot be fetched automatically, and then `manual` says how to get it.
    layout: how its tensors are named.
    sha256: full 64 hexadecimal digits or the published first ones (at least 8); None if nothing is published.
    size: bytes, if known.
    manual: for `url` None, one sentence.

    Raises WeightsError for a name that could leave the cache, a URL that is not http(s), or a malformed hash.
    """

    filename: str
    url: str | None
    layout: Layout
    sha256: str | None = None
    size: int | None = None
    manual: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.filename) or self.filename.lower().endswith(_OWN_ENDINGS):
            raise WeightsError(f"{self.filename!r}: not a plain file name that the weight cache can use")
        if self.url is not None and not re.match(r"https?://[^/?#@\s]+/", self.url):
            raise WeightsError(f"{self.filename}: its address is not http(s)://host/path")
        if self.url is None and not self.manual:
            raise WeightsError(f"{self.filename}: has no URL, and nothing says how to get it by hand")
        if self.layout not in get_args(Layout):
            raise WeightsError(f"{self.filename}: layout {self.layout!r} is none of {', '.join(get_args(Layout))}")
        if self.sha256 is not None and not re.fullmatch(r"[0-9a-f]{8,64}", self.sha256):
            raise WeightsError(f"{self.filename}: sha256 {self.sha256!r} is not 8 to 64 lower-case hexadecimal digits")
        if self.size is not None and self.size <= 0:
            raise WeightsError(f"{self.filename}: size {self.size} is not a positive number of bytes")
