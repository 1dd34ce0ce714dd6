"""ImageNet weights for encoders: transformers' ViT in miniature gives equal features; wrong files are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from download_server import Server
from safetensors.torch import load_file, save, save_file
from torch import Tensor
from transformers import ViTConfig as PeerConfig
from transformers import ViTForImageClassification, ViTModel

import miniatures
from dptkit.config import EncoderConfig, HybridConfig, ViTConfig
from dptkit.errors import WeightsError
from dptkit.model.build import build_model
from dptkit.model.dpt import DPT
from dptkit.model.encoders.transformer import PositionEmbedding
from dptkit.presets import DEIT_ENCODERS, IMAGENET_ENCODERS, PRESETS, VIT_LARGE, EncoderWeights
from dptkit.source import WeightSource
from dptkit.weights.convert import convert_from_ours
from dptkit.weights.encoder import build_encoder_table, load_encoder

MODEL = miniatures.miniature_spec("dpt-large").model
HYBRID = miniatures.miniature_spec("dpt-hybrid").model
GRID = 4
NOWHERE = EncoderWeights(WeightSource("none.safetensors", "https://nowhere.invalid/none", "timm"), "Apache-2.0")
POSITIONS = "vit.embeddings.position_embeddings"


def peer(classifier: bool = False, grid: int = GRID) -> ViTModel | ViTForImageClassification:
    """As transformers builds it, nothing left at a telling zero or one."""
    torch.manual_seed(0)
    config = PeerConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=128, image_size=16 * grid,
        patch_size=16, layer_norm_eps=1e-6, num_labels=7,
    )  # fmt: skip
    model = ViTForImageClassification(config) if classifier else ViTModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def saved(model: ViTModel | ViTForImageClassification, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder / "model.safetensors"


def network(config: EncoderConfig | None = None) -> DPT:
    torch.manual_seed(1)
    model = MODEL if config is None else replace(MODEL, encoder=config)
    return build_model(model).eval()


@pytest.mark.parametrize("classifier", [False, True])
@torch.no_grad()
def test_features_are_the_peers_and_the_decoder_stays(tmp_path: Path, classifier: bool) -> None:
    model, ours = peer(classifier), network()
    decoder = {name: tensor.clone() for name, tensor in ours.state_dict().items() if not name.startswith("encoder.")}
    load_encoder(ours, MODEL.encoder, saved(model, tmp_path))
    image = miniatures.random_image(2, 3, 16 * GRID, 16 * GRID)
    states = (model.vit if classifier else model)(image, output_hidden_states=True).hidden_states
    features = ours.encoder(image)
    for tap, found, prefix in zip(MODEL.encoder.out_indices, features.maps, features.prefixes, strict=True):
        wanted = states[tap + 1]
        # Float32 sums in another order through four blocks; values are around one.
        torch.testing.assert_close(found.flatten(2).transpose(1, 2), wanted[:, 1:], atol=2e-5, rtol=1e-5)
        assert prefix is not None
        torch.testing.assert_close(prefix, wanted[:, :1], atol=2e-5, rtol=1e-5)
    assert all(torch.equal(ours.state_dict()[name], tensor) for name, tensor in decoder.items())


def test_timm_names() -> None:
    names = build_encoder_table(VIT_LARGE, "timm").manifest()
    # timm's vit_large_patch16_384: two tokens, the patch embedding, 24 blocks of twelve; without norm and head.
    assert len(names) == 2 + 2 + 24 * 12
    assert names["pos_embed"] == (1, 577, 1024)
    assert names["blocks.23.attn.qkv.weight"] == (3072, 1024)
    assert names["patch_embed.proj.weight"] == (1024, 3, 16, 16)
    hybrid = build_encoder_table(HybridConfig(), "timm").manifest()
    assert hybrid["patch_embed.backbone.stages.2.blocks.8.conv2.weight"] == (256, 256, 3, 3)


def test_a_timm_file_with_its_classifier(tmp_path: Path) -> None:
    source, ours = network(), network()
    miniature = {f"encoder.{name}": 2 * tensor for name, tensor in source.encoder.state_dict().items()}
    theirs = build_encoder_table(MODEL.encoder, "timm").from_ours(miniature)
    torch.save({**theirs, "norm.weight": torch.ones(32), "head.bias": torch.ones(1000)}, tmp_path / "timm.pth")
    load_encoder(ours, MODEL.encoder, tmp_path / "timm.pth")
    for name, tensor in ours.encoder.state_dict().items():
        assert torch.equal(tensor, miniature[f"encoder.{name}"]), name


def hybrid_file(ours: DPT) -> dict[str, Tensor]:
    """The tensors as transformers' ViTHybridForImageClassification names them, from its DPT-Hybrid's names."""
    renamed = {}
    for name, tensor in convert_from_ours(ours.state_dict(), HYBRID, "hf").items():
        if name.startswith("dpt."):
            inside = name.removeprefix("dpt.").replace("embeddings.backbone.", "embeddings.patch_embeddings.backbone.")
            inside = inside.replace("embeddings.projection.", "embeddings.patch_embeddings.projection.")
            renamed[f"vit.{inside}"] = tensor.contiguous()
    return {**renamed, "classifier.weight": torch.zeros(7, 32), "classifier.bias": torch.zeros(7)}


def test_a_hybrid_file(tmp_path: Path) -> None:
    source = miniatures.build_miniature("dpt-hybrid", seed=3)
    save_file(hybrid_file(source), tmp_path / "hybrid.safetensors")
    ours = miniatures.build_miniature("dpt-hybrid", seed=4)
    load_encoder(ours, HYBRID.encoder, tmp_path / "hybrid.safetensors")
    for name, tensor in source.encoder.state_dict().items():
        assert torch.equal(ours.encoder.state_dict()[name], tensor), name


def test_hybrid_names_at_full_size() -> None:
    names = build_encoder_table(HybridConfig(), "hf", "vit.").manifest()
    bit = "vit.embeddings.patch_embeddings.backbone.bit"
    assert names[f"{bit}.embedder.convolution.weight"] == (64, 3, 7, 7)
    assert names[f"{bit}.encoder.stages.2.layers.8.conv3.weight"] == (1024, 256, 1, 1)
    assert names[f"{bit}.encoder.stages.0.layers.0.downsample.conv.weight"] == (256, 64, 1, 1)
    assert names["vit.embeddings.patch_embeddings.projection.weight"] == (768, 1024, 1, 1)
    assert names[POSITIONS] == (1, 577, 768)


@torch.no_grad()
def test_positions_of_another_grid_are_resized_as_the_network_does(tmp_path: Path) -> None:
    path = saved(peer(classifier=True, grid=6), tmp_path)
    ours = network()
    load_encoder(ours, MODEL.encoder, path)
    reference = PositionEmbedding(32, (6, 6), 1)
    reference.weight.copy_(load_file(path)[POSITIONS])
    found = ours.encoder.transformer.position_embedding.weight  # type: ignore[union-attr]
    torch.testing.assert_close(found, reference((GRID, GRID)), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vit.encoder.layer.3.extra": torch.ones(1)}, r"unknown vit\.encoder\.layer\.3\.extra"),
        ({"vit.encoder.layer.0.layernorm_after.bias": None}, r"missing vit\.encoder\.layer\.0\.layernorm_after\.bias"),
        ({"vit.encoder.layer.0.layernorm_after.bias": torch.ones(5)}, r"layernorm_after\.bias has shape \(5,\)"),
        ({POSITIONS: torch.ones(1, 1 + 15, 32)}, "is no square grid"),
        ({"vit.embeddings.cls_token": None}, "not a ViT in transformers' or timm's layout"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path: Path, change: dict[str, Tensor | None], message: str) -> None:
    tensors = {**load_file(saved(peer(classifier=True), tmp_path)), **change}
    path = tmp_path / "wrong.safetensors"
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)
    with pytest.raises(WeightsError, match=message) as caught:
        load_encoder(network(), MODEL.encoder, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_published_one_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(save(load_file(saved(peer(classifier=True), tmp_path))))
    source = WeightSource("vit-tiny.safetensors", server.url, "hf")
    monkeypatch.setitem(IMAGENET_ENCODERS, MODEL.encoder, EncoderWeights(source, "Apache-2.0"))
    monkeypatch.setenv("DPTKIT_CACHE", str(tmp_path / "cache"))
    ours, again = network(), network()
    with server.running():
        load_encoder(ours, MODEL.encoder)
        load_encoder(again, MODEL.encoder)
    assert len(server.seen) == 1
    wanted = load_file(tmp_path / "model.safetensors")["vit.encoder.layer.1.output.dense.weight"]
    for loaded in (ours, again):
        assert torch.equal(loaded.encoder.state_dict()["transformer.blocks.1.mlp.fc2.weight"], wanted)


def test_blocks_behind_the_last_tap_are_left_out_and_a_published_encoder_is_found_whatever_is_tapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = replace(MODEL, encoder=replace(MODEL.encoder, depth=5))
    torch.manual_seed(2)
    whole = build_model(replace(early, encoder=replace(early.encoder, out_indices=(1, 2, 3, 4)))).eval()
    own = {f"encoder.{name}": tensor for name, tensor in whole.encoder.state_dict().items()}
    for layout in ("timm", "hf"):
        path = tmp_path / f"{layout}.safetensors"
        save_file(build_encoder_table(replace(early.encoder, out_indices=(1, 2, 3, 4)), layout).from_ours(own), path)
        ours = build_model(early)
        monkeypatch.setattr("dptkit.weights.encoder.fetch", lambda source, progress=None, path=path: path)
        monkeypatch.setitem(IMAGENET_ENCODERS, replace(early.encoder, out_indices=(1, 2, 3, 4)), NOWHERE)
        load_encoder(ours, early.encoder)
        assert len(ours.encoder.transformer.blocks) == 4  # type: ignore[union-attr]
        for name, tensor in ours.encoder.state_dict().items():
            assert torch.equal(tensor, own[f"encoder.{name}"]), name


def test_deit_has_a_start_for_one_prefix_token_and_for_two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for tokens in (1, 2):
        config = replace(MODEL.encoder, prefix_tokens=tokens)
        source = network(config)
        own = {f"encoder.{name}": 2 * tensor for name, tensor in source.encoder.state_dict().items()}
        theirs = build_encoder_table(config, "timm").from_ours(own)
        assert ("dist_token" in theirs) == (tokens == 2)
        theirs |= {"head.weight": torch.ones(7, 32), "head_dist.weight": torch.ones(7, 32)}
        torch.save({"model": theirs}, tmp_path / f"{tokens}.pth")
        monkeypatch.setitem(DEIT_ENCODERS, config, replace(NOWHERE, license=str(tokens)))
        monkeypatch.setattr(
            "dptkit.weights.encoder.fetch", lambda source, progress=None, tokens=tokens: tmp_path / f"{tokens}.pth"
        )
        ours = network(config)
        load_encoder(ours, config, "deit")
        assert torch.equal(ours.encoder.state_dict()["transformer.prefix_tokens"],
                           own["encoder.transformer.prefix_tokens"])  # fmt: skip
    published = {encoder.prefix_tokens: found.source for encoder, found in DEIT_ENCODERS.items() if encoder.width > 99}
    assert str(published[1].url).endswith(f"deit_base_patch16_384-{published[1].sha256}.pth")
    assert str(published[2].url).endswith(f"deit_base_distilled_patch16_384-{published[2].sha256}.pth")
    with pytest.raises(WeightsError, match="deit is published for the encoder of dpt-base only"):
        load_encoder(network(), VIT_LARGE, "deit")


def test_every_encoder_of_the_paper_has_a_start_and_dpt_lite_says_what_to_do() -> None:
    for name in ("dpt-large", "dpt-hybrid", "dpt-large-ade20k", "dpt-hybrid-ade20k"):
        published = IMAGENET_ENCODERS[PRESETS[name].spec.model.encoder]
        assert published.license == "Apache-2.0"
        assert str(published.source.url).startswith("https://huggingface.co/google/vit-")
    names = [published.source.filename for published in IMAGENET_ENCODERS.values()]
    taken = [source.filename for preset in PRESETS.values() for source in preset.sources]
    assert len({*names, *taken}) == len(names) + len(taken), "two files would share a place in the cache"
    lite = miniatures.miniature_spec("dpt-lite").model
    with pytest.raises(WeightsError, match="set imagenet_stem"):
        load_encoder(build_model(lite), lite.encoder)
    assert isinstance(MODEL.encoder, ViTConfig)
