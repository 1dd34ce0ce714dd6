"""One contract for every published model, in miniature: what may be relied on whatever the architecture."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

import miniatures
from dptkit.model.build import build_model
from dptkit.model.encoders.transformer import Block
from dptkit.presets import DPT_BASE, PRESETS
from dptkit.runtime.torch_backend import TorchBackend
from dptkit.weights.layouts import build_key_table
from dptkit.weights.load import build_network, load_model
from dptkit.weights.tensor_file import read_tensors, write_tensors
from miniatures import SEGMENTATION_NAMES, SPECS, build_miniature, miniature_spec, random_image

every_model = pytest.mark.parametrize("name", SPECS)

# Grids of 3 x 5 (odd, so 1/32 is rounded up), 4 x 4 (that of the position embedding), one row, one column.
SIZES = ((48, 80), (64, 64), (16, 112), (80, 16), (96, 32))

# Presets that differ only in weights and decoding have one miniature; tracing each once is enough.
STRUCTURES = tuple({miniature_spec(name).model: name for name in SPECS}.values())


def channels(name: str) -> int:
    return 1 if SPECS[name].task == "depth" else miniatures.CLASSES


def predict(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(image)


def stride(name: str) -> int:
    """What a network's sides are multiples of."""
    return build_miniature(name).encoder.stride


def sized(name: str, height: int, width: int) -> tuple[int, int]:
    """A size in multiples of 16, for a network that takes others: as many multiples of its own."""
    return height * stride(name) // 16, width * stride(name) // 16


def training_loss(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Every output pixel counts, each differently."""
    outputs = network.forward_auxiliary(image) if network.auxiliary_head is not None else (network(image),)
    return sum((output * random_image(*output.shape, seed=7)).sum() for output in outputs)


@every_model
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_output_has_the_size_of_the_input(name: str, batch: int, size: tuple[int, int]) -> None:
    height, width = sized(name, *size)
    raw = predict(build_miniature(name), random_image(batch, 3, height, width))
    assert raw.shape == (batch, channels(name), height, width)
    assert raw.isfinite().all()
    assert raw.std() > 0
    assert raw.min() >= 0 or name == "dpt-lite" or channels(name) > 1, "published depth heads end with a ReLU"


@every_model
@pytest.mark.parametrize("size", [(48, 81), (47, 80), (8, 80), (50, 50)], ids=str)
def test_a_wrong_size_is_named(name: str, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"image size {size[0]}x{size[1]} must be a multiple of {stride(name)}"):
        predict(build_miniature(name), random_image(1, 3, *size))


@every_model
def test_every_stage_has_its_scale(name: str) -> None:
    network = build_miniature(name)
    maps = network.reassemble(network.encoder(random_image(1, 3, 64, 96)))
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert [tuple(m.shape[2:]) for m in network.fusion(maps)] == [(4, 6), (8, 12), (16, 24), (32, 48)]


@every_model
def test_a_picture_does_not_depend_on_its_neighbours(name: str) -> None:
    network, batch = build_miniature(name), random_image(3, 3, *sized(name, 48, 80))
    together = predict(network, batch)
    others = batch.clone()
    others[[0, 2]] = 50 * random_image(2, 3, *sized(name, 48, 80), seed=2)
    assert torch.equal(predict(network, others)[1], together[1])
    for picture, raw in zip(batch, together, strict=True):
        # Other batch sizes may take other kernels: float32 rounding through some ten layers, at values about one.
        torch.testing.assert_close(predict(network, picture[None])[0], raw, atol=1e-5, rtol=1e-5)


@every_model
def test_every_parameter_gets_a_finite_gradient(name: str) -> None:
    network = build_miniature(name).train()
    training_loss(network, random_image(3, 3, *sized(name, 48, 80))).backward()
    without = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert without == []
    broken = [key for key, parameter in network.named_parameters() if not parameter.grad.isfinite().all()]
    assert broken == []
    dead = [key for key, parameter in network.named_parameters() if not parameter.grad.any()]
    assert dead == []


@every_model
def test_gradient_checkpointing_gives_the_same_gradients(name: str) -> None:
    image, gradients, block_runs = random_image(2, 3, *sized(name, 48, 80)), [], []
    for enabled in (False, True):
        network = build_miniature(name).train()
        network.set_gradient_checkpointing(enabled)
        runs: list[Block] = []
        blocks = [module for module in network.modules() if isinstance(module, Block)]
        for block in blocks:
            block.norm1.register_forward_hook(lambda module, *_, runs=runs: runs.append(module))
        torch.manual_seed(3)  # for the dropout
        training_loss(network, image).backward()
        gradients.append({key: parameter.grad for key, parameter in network.named_parameters()})
        block_runs.append(len(runs) / len(blocks))
    assert block_runs == [1, 2], "checkpointing means that each block runs again in the backward pass"
    for key, gradient in gradients[0].items():
        assert torch.equal(gradients[1][key], gradient), key


@every_model
def test_a_model_file_gives_back_the_same_model(name: str, tmp_path: Path) -> None:
    network, spec, image = build_miniature(name), miniature_spec(name), random_image(2, 3, *sized(name, 48, 80))
    write_tensors(tmp_path / "net.safetensors", network.state_dict(), spec)
    loaded = load_model(tmp_path / "net.safetensors")
    assert loaded.spec == spec
    assert not loaded.network.training
    assert torch.equal(predict(loaded.network, image), predict(network, image))


@every_model
def test_a_state_dict_file_gives_back_the_same_network(name: str, tmp_path: Path) -> None:
    network, image = build_miniature(name), random_image(2, 3, *sized(name, 48, 80))
    torch.save(network.state_dict(), tmp_path / "net.pt")
    loaded = build_network(miniature_spec(name).model, read_tensors(tmp_path / "net.pt").tensors)
    assert torch.equal(predict(loaded, image), predict(network, image))


@every_model
def test_half_precision_weights_become_a_float32_network(name: str) -> None:
    network, image = build_miniature(name), random_image(1, 3, *sized(name, 48, 80))
    half = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    loaded = build_network(miniature_spec(name).model, half)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(predict(loaded, image), predict(network, image), atol=0.05, rtol=0.05)


@every_model
def test_two_models_do_not_share_anything(name: str) -> None:
    first, second = build_miniature(name, seed=0), build_miniature(name, seed=1)
    images = [random_image(1, 3, *sized(name, *size)) for size in SIZES]
    expected = [predict(first, image) for image in images]
    for image, raw in zip(images, expected, strict=True):
        assert not torch.allclose(predict(second, image), raw)
        assert torch.equal(predict(first, image), raw)


@every_model
def test_eight_threads_on_one_model(name: str) -> None:
    network = build_miniature(name)
    twin = copy.deepcopy(network)
    images = [random_image(1, 3, *sized(name, *SIZES[index % len(SIZES)]), seed=index) for index in range(24)]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(lambda image: predict(network, image), images))
    for image, raw in zip(images, threaded, strict=True):
        # The number of kernel threads may differ between the two runs, and with it the order of sums.
        torch.testing.assert_close(raw, predict(twin, image), atol=1e-5, rtol=1e-5)


@every_model
def test_a_used_model_can_be_copied_and_pickled(name: str) -> None:
    network, image = build_miniature(name), random_image(1, 3, *sized(name, 48, 80))
    keys = list(network.state_dict())
    raw = predict(network, image)
    assert list(network.state_dict()) == keys
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(predict(twin, image), raw)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.mul_(1.1)
        assert not torch.equal(predict(twin, image), raw)
        assert torch.equal(predict(network, image), raw)


@every_model
def test_new_weights_count_at_once(name: str) -> None:
    network, other, image = (
        build_miniature(name, seed=0),
        build_miniature(name, seed=1),
        random_image(1, 3, *sized(name, 48, 80)),
    )
    before = predict(network, image)
    network.load_state_dict(other.state_dict())
    assert torch.equal(predict(network, image), predict(other, image))
    assert not torch.equal(predict(network, image), before)
    doubled = predict(network.double(), image.double())
    assert doubled.dtype == torch.float64
    torch.testing.assert_close(doubled.float(), predict(other, image), atol=1e-4, rtol=1e-4)


@every_model
def test_memory_layout_does_not_matter(name: str) -> None:
    network, image = build_miniature(name), random_image(2, 3, *sized(name, 48, 80))
    raw = predict(network, image)
    # channels_last takes other kernels: float32 rounding only.
    channels_last = image.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(predict(network, channels_last), raw, atol=1e-5, rtol=1e-5)
    network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(predict(network, channels_last), raw, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(predict(network, image), raw, atol=1e-5, rtol=1e-5)
    flipped = image.flip(3)
    assert torch.equal(predict(network, flipped), predict(network, flipped.clone()))


@every_model
def test_the_engine_gives_the_networks_numbers(name: str) -> None:
    network, image = build_miniature(name), random_image(2, 3, *sized(name, 48, 80))
    raw = TorchBackend(copy.deepcopy(network), "cpu").predict(image.numpy())
    assert raw.dtype == np.float32
    # Parameters without gradients may take other kernels: float32 rounding only.
    np.testing.assert_allclose(raw, predict(network, image).numpy(), atol=1e-5, rtol=1e-5)
    half = TorchBackend(copy.deepcopy(network), "cpu", "bfloat16").predict(image.numpy())
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, raw, atol=0.1 * np.abs(raw).max())


@pytest.mark.parametrize("name", SEGMENTATION_NAMES)
def test_dropout_only_in_training(name: str) -> None:
    network, image = build_miniature(name), random_image(2, 3, *sized(name, 48, 80))
    assert torch.equal(predict(network, image), predict(network, image))
    network.train()
    torch.manual_seed(0)
    assert not torch.equal(predict(network, image), predict(network, image))


@pytest.mark.parametrize("name", SEGMENTATION_NAMES)
def test_the_auxiliary_head_is_at_a_quarter_and_changes_nothing(name: str) -> None:
    network, image = build_miniature(name), random_image(2, 3, *sized(name, 48, 80))
    raw, auxiliary = network.forward_auxiliary(image)
    assert torch.equal(raw, network(image))
    assert auxiliary.shape == (2, miniatures.CLASSES, *sized(name, 12, 20))


def test_no_auxiliary_head_is_an_error() -> None:
    with pytest.raises(ValueError, match="without an auxiliary head"):
        build_miniature("dpt-large").forward_auxiliary(random_image(1, 3, 32, 32))


# Of the networks as built. "stored" adds what files of the original hold and nothing reads, always the same three:
# residual unit 1 of the coarsest fusion block (2 convolutions 256 x 256 x 3 x 3, with biases or batch norms),
# the final norm (2 D) and the ImageNet classifier (1000 D + 1000).
PARAMETERS = {
    "dpt-base": 109_696_385,
    "dpt-lite": 5_528_673,
    "dpt-lite-street": 5_576_342,
    "dpt-large": 341_848_257,
    "dpt-hybrid": 121_196_289,
    "dpt-hybrid-nyu": 121_196_289,
    "dpt-hybrid-nyu-new": 121_196_289,
    "dpt-hybrid-kitti": 121_196_289,
    "dpt-large-ade20k": 342_777_644,
    "dpt-hybrid-ade20k": 122_125_676,
}


def test_every_preset_has_its_count_here() -> None:
    assert set(PARAMETERS) == set(SPECS)


@every_model
def test_parameter_counts(name: str) -> None:
    with torch.device("meta"):
        network = build_model(SPECS[name].model)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]
    if name in PRESETS:
        assert PRESETS[name].parameters == PARAMETERS[name]


# The paper's table 9 says 112, 343 and 123 million. MiDaS lists the very file of DPT-Large with 344, which is what it
# holds; 343 is the same without the classifier (343,030,465).
@pytest.mark.parametrize(
    ("name", "width", "stored", "millions"),
    [
        ("dpt-base", 768, 111_647_081, 112),
        ("dpt-hybrid", 768, 123_146_985, 123),
        ("dpt-large", 1024, 344_055_465, 344),
    ],
)
def test_stored_counts_are_the_published_ones(name: str, width: int, stored: int, millions: int) -> None:
    unit, norm, classifier = 2 * (256 * 256 * 9 + 256), 2 * width, 1000 * width + 1000
    manifest = build_key_table(DPT_BASE if name == "dpt-base" else SPECS[name].model, "isl").manifest()
    assert sum(math.prod(shape) for shape in manifest.values()) == stored
    assert stored - PARAMETERS[name] == unit + norm + classifier
    assert round(stored / 1e6) == millions
    if name == "dpt-large":
        assert round((stored - classifier) / 1e6) == 343


TRACED = tuple(name for name in STRUCTURES if name != "dpt-large-ade20k")
"""Its encoder is dpt-large's and its head dpt-hybrid-ade20k's, and tracing takes long."""

# ---- tracing: in a process of its own, since the shape checks of these tests are no part of what users trace ----

EXPORT_SIZES = ((80, 48), (48, 112))
# As high as the position embedding's own grid of 4 x 4.
TRAINED_SIZES = {16: ((64, 48), (64, 64)), 32: ((64, 96), (64, 64))}

Differences = dict[str, float | str]
"""By picture size: the largest difference to eager, or what went wrong."""


@lru_cache
def traced(what: str) -> dict[str, Differences]:
    """One of the functions below, run elsewhere over all structures; what it found, by model."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(miniatures.__file__).parent), *sys.path])}
    finished = subprocess.run(
        [sys.executable, __file__, what], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    if finished.returncode:
        return {name: {"error": finished.stderr[-3000:]} for name in TRACED}
    return json.loads(finished.stdout.splitlines()[-1])


def compile_eagerly(name: str) -> Differences:
    return _compile(name, "aot_eager")


def compile_with_inductor(name: str) -> Differences:
    return _compile(name, "inductor") if name == "dpt-lite" else {}


def _compile(name: str, backend: str) -> Differences:
    torch._dynamo.reset()  # all structures share the code of one forward, which is compiled eight times at most
    network, image = build_miniature(name), random_image(1, 3, *sized(name, 48, 80))
    compiled = torch.compile(network, backend=backend, fullgraph=True)
    return {"48x80": float((predict(compiled, image) - predict(network, image)).abs().max())}


def export(name: str) -> Differences:
    network, found = build_miniature(name), {}
    step = network.encoder.stride
    # A side of 16 or 32 pixels is one row at 1/32: torch takes sides of one apart, as everywhere.
    least = {"b": 1, "h": 32 // step + 1, "w": 32 // step + 1}
    batch, height, width = (torch.export.Dim(side, min=least[side], max=64) for side in least)
    program = torch.export.export(
        network,
        (random_image(2, 3, *sized(name, 48, 80)),),
        dynamic_shapes=({0: batch, 2: step * height, 3: step * width},),
    ).module()
    for size in (*(sized(name, *size) for size in EXPORT_SIZES), *TRAINED_SIZES[step]):
        image = random_image(3, 3, *size)
        try:
            found[str(size)] = float((predict(program, image) - predict(network, image)).abs().max())
        except (AssertionError, RuntimeError) as error:
            found[str(size)] = str(error)
    return found


@pytest.mark.parametrize("name", TRACED)
def test_compiles_as_one_graph(name: str) -> None:
    differences = traced("compile_eagerly")[name]
    # The same operators, decomposed: float32 rounding at values about one.
    assert all(isinstance(value, float) and value < 1e-5 for value in differences.values()), differences


@pytest.mark.slow
def test_compiles_to_machine_code() -> None:
    differences = traced("compile_with_inductor")["dpt-lite"]
    # Operators are fused and sums reordered.
    assert all(isinstance(value, float) and value < 1e-4 for value in differences.values()), differences


@pytest.mark.parametrize("name", TRACED)
@pytest.mark.parametrize("size", EXPORT_SIZES, ids=str)
def test_exports_for_any_size(name: str, size: tuple[int, int]) -> None:
    assert_exported(name, sized(name, *size))


@pytest.mark.parametrize("name", TRACED)
def test_exports_also_for_the_size_of_training(name: str) -> None:
    for size in TRAINED_SIZES[stride(name)]:
        assert_exported(name, size)


def assert_exported(name: str, size: tuple[int, int]) -> None:
    difference = traced("export")[name].get(str(size), traced("export")[name])
    assert isinstance(difference, float), difference
    assert difference < 1e-5


if __name__ == "__main__":
    print(json.dumps({structure: globals()[sys.argv[1]](structure) for structure in TRACED}))
