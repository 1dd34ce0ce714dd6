"""From light to an 8-bit picture: exposure, lens, noise, compression. Linear light in, stored values out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.procedural.compiled import compiled_strictly
from dptkit.data.procedural.draw import Draw

Light = npt.NDArray[np.float32]
_STEPS = 4095
_NO_GRAIN = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Sensor:
    """The choices of one camera; a clip keeps them. See `draw_sensor` for what each does."""

    exposure: float
    brightness: float | None  # of the light that the exposure is set for; None: measured in each picture
    quantile: float
    cast: tuple[float, float, float]
    blur: float
    focus: float
    bloom: float
    vignette: float
    filmic: bool
    gamma: float
    contrast: float
    softness: float
    shake: tuple[float, int]
    noise: float
    quality: int

    def metered(self, light: Light) -> float:
        """How bright the picture is, by this sensor's measure."""
        red, green, blue = cv2.split(np.ascontiguousarray(light[::4, ::4]))
        return float(np.quantile((red + green + blue) / np.float32(3), self.quantile)) + 1e-3

    def steady(self, brightness: float) -> Sensor:
        """The same sensor with its exposure set once."""
        return replace(self, brightness=brightness)


def draw_sensor(draw: Draw, blur: float) -> Sensor:
    """`blur`: strength of the lens blur that the scene asks for."""
    return Sensor(
        exposure=draw.between(0.3, 0.9),
        brightness=None,
        quantile=draw.between(0.75, 0.98),
        cast=(1 + draw.normal(0.07), 1 + draw.normal(0.05), 1 + draw.normal(0.07)),
        blur=blur,
        focus=draw.between(0.8, 0.98) if draw.chance(0.75) else draw.between(0.3, 0.8),
        bloom=0.25 * draw.unit() if draw.chance(0.4) else 0.0,
        vignette=draw.between(0, 0.4) if draw.chance(0.5) else 0.0,
        filmic=draw.chance(0.7),
        gamma=1 / draw.between(1.9, 2.5),
        contrast=draw.between(0.7, 1.3) if draw.chance(0.3) else 1.0,
        softness=draw.between(0.3, 0.8) if draw.chance(0.7) else 0.0,
        shake=(draw.angle(), draw.count(3, 7)) if draw.chance(0.08) else (0.0, 0),
        noise=draw.between(0, 0.03) if draw.chance(0.6) else 0.0,
        quality=draw.count(40, 95) if draw.chance(0.5) else 0,
    )


def develop(
    light: Light, inverse_depth: npt.NDArray[np.float32], sensor: Sensor, noise: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """uint8 RGB [H, W, 3] from linear light float32 [H, W, 3] and 1/m [H, W] (0 for the sky)."""
    bright = sensor.metered(light) if sensor.brightness is None else sensor.brightness
    width = light.shape[1]
    # Factors are spread to whole rows first: numpy is slow along an axis of three.
    gain = np.array(sensor.cast, np.float32) * np.float32(sensor.exposure / bright)
    x = light * np.tile(gain, width).reshape(width, 3)
    if sensor.blur > 0:
        x = _lens_blur(x, inverse_depth, sensor)
    if sensor.bloom:
        small = cv2.resize(x, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        glow = np.maximum(cv2.GaussianBlur(small, (0, 0), 2) - 0.6, 0)
        x += sensor.bloom * cv2.resize(glow, (x.shape[1], x.shape[0]))
    if sensor.vignette:
        across, down = np.linspace(-1, 1, x.shape[1]) ** 2, np.linspace(-1, 1, x.shape[0]) ** 2
        x *= _for_each_colour((1 - sensor.vignette * (across[None] + down[:, None]) / 2).astype(np.float32))
    if sensor.filmic:
        x /= 1 + np.maximum(x - 0.8, 0) * 0.8
    if sensor.softness:
        x = np.asarray(cv2.GaussianBlur(x, (0, 0), sensor.softness), np.float32)
    if sensor.shake[1]:
        x = np.asarray(cv2.filter2D(x, -1, _streak(*sensor.shake)), np.float32)
    grain = noise.standard_normal(x.shape, dtype=np.float32) if sensor.noise else _NO_GRAIN
    picture = np.empty(x.shape, np.uint8)
    _store(x.ravel(), _tone_curve(sensor), grain.ravel(), np.float32(sensor.noise), picture.reshape(-1))
    if sensor.quality:
        coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, sensor.quality])[1]
        picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return picture


@compiled_strictly
def _store(light: Any, curve: Any, grain: Any, strength: Any, picture: Any) -> None:
    """Tone curve, noise (none where `grain` is empty) and rounding to 8 bits, of flat arrays."""
    half, most = np.float32(0.5), np.float32(255)
    for i in range(light.shape[0]):
        value = curve[int(min(max(light[i] * np.float32(_STEPS), np.float32(0)), np.float32(_STEPS)))]
        if grain.shape[0]:
            value += grain[i] * (strength * (half + half * np.sqrt(value)))
        picture[i] = int(min(max(value, np.float32(0)), np.float32(1)) * most + half)


def _tone_curve(sensor: Sensor) -> Light:
    levels = np.linspace(0, 1, _STEPS + 1) ** sensor.gamma
    return np.clip((levels - 0.5) * sensor.contrast + 0.5, 0, 1).astype(np.float32)


def _lens_blur(x: Light, inverse_depth: npt.NDArray[np.float32], sensor: Sensor) -> Light:
    """Sharp at one distance; elsewhere a mix of blurred copies."""
    focus = max(float(np.quantile(inverse_depth[::4, ::4], sensor.focus)), 1e-6)
    amount = np.clip(np.abs(inverse_depth - focus) / focus * sensor.blur * 2, 0, 3).astype(np.float32)
    amount = cv2.GaussianBlur(amount, (0, 0), 1)
    scale = x.shape[1] / 320
    mixed = x * _for_each_colour(np.clip(1 - amount, 0, 1))
    for level, sigma in enumerate((1.0, 2.2, 4.5), 1):
        copy = cv2.GaussianBlur(x, (0, 0), sigma * scale)
        mixed += copy * _for_each_colour(np.clip(1 - np.abs(amount - level), 0, 1))
    return np.asarray(mixed, np.float32)


def _for_each_colour(factor: Light) -> Light:
    """[H, W] to [H, W, 3]."""
    return np.asarray(cv2.merge((factor, factor, factor)), np.float32)


def _streak(angle: float, length: int) -> Light:
    kernel = np.zeros((9, 9), np.float32)
    dx, dy = math.cos(angle) * length / 2, math.sin(angle) * length / 2
    cv2.line(kernel, (round(4 - dx), round(4 - dy)), (round(4 + dx), round(4 + dy)), 1.0)
    return kernel / kernel.sum()
