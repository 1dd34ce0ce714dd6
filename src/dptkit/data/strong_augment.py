"""Strong augmentation: the student's view of a picture of which the teacher sees the clean one.

Colours only, so that what the teacher says of a pixel holds for the student's pixel at the same place; CutMix, which
also moves nothing, is applied to two pictures of a batch afterwards (`dptkit.data.views`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dptkit.data.augment import Augment
from dptkit.data.augment_colour import ColourJitter, RandomBlur, RandomGrey, RandomJpeg
from dptkit.data.sample import Sample


@dataclass(frozen=True)
class StrongAugment:
    """Colour jitter, grey, blur and JPEG, each with its own chance, in this order.

    strength: times it, the factors of jitter lie within 1 +- 0.5 and the hue turns by up to a quarter of a circle.
    Source: Yang et al., "Depth Anything" (2401.10891, section 3.2): strong colour distortions (jitter and blur) and
    CutMix, without which unlabelled pictures gave nothing. Jitter of 0.5, 0.5, 0.5, 0.25 with chance 0.8 and grey 0.2
    are those of the semi-supervised works that it builds on (ST++, UniMatch). JPEG is ours.
    """

    colour: float = 0.8
    grey: float = 0.2
    blur: float = 0.5
    jpeg: float = 0.3
    strength: float = 1.0

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        factor, hue = 0.5 * self.strength, 0.25 * self.strength
        steps = (
            ColourJitter(factor, factor, factor, hue, self.colour),
            RandomGrey(self.grey),
            RandomBlur(probability=self.blur),
            RandomJpeg(probability=self.jpeg),
        )
        return Augment(steps)(sample, rng)
