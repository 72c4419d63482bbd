from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor, nn
from torch.nn import functional as F

from lgd.diffusion.autoencoder import Latents, Pixels, load_latents, resize, save_latents
from lgd.diffusion.autoencoder_networks import channels, factor, load_network, network_decode, network_encode
from lgd.diffusion.taef2 import TAEF2
from lgd.errors import UserError
from lgd.rng import seeded_initialisation
from lgd.storage.files import save_tensors, write_json


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def save_taef2(folder: Path, network: TAEF2) -> None:
    save_tensors(folder / "encoder.safetensors", network.encoder.state_dict())
    save_tensors(folder / "decoder.safetensors", network.decoder.state_dict())


def new_taef2() -> TAEF2:
    with seeded_initialisation("test"):
        return TAEF2().eval().requires_grad_(False)


def new_kl(**values: object) -> AutoencoderKL:
    with seeded_initialisation("test"):
        sizes = {"block_out_channels": (4, 8), "down_block_types": ("DownEncoderBlock2D",) * 2}
        sizes |= {"up_block_types": ("UpDecoderBlock2D",) * 2, "norm_num_groups": 2, "latent_channels": 3}
        return AutoencoderKL(**sizes | values).eval().requires_grad_(False)


def test_taef2_is_written_out_in_words() -> None:
    """The same arithmetic, layer after layer as its description has it, from the tensors' names alone."""
    network = new_taef2()
    x = images(2, 3, 16, 24)

    def conv(weights: dict[str, Tensor], name: str, x: Tensor, stride: int = 1) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), stride, padding=1)

    def block(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
        if f"{name}.pool.0.weight" in weights:
            y = F.conv2d(x, weights[f"{name}.pool.0.weight"])
            y = F.group_norm(y, 4, weights[f"{name}.pool.1.weight"], weights[f"{name}.pool.1.bias"]).relu()
            x = x + F.conv2d(y, weights[f"{name}.pool.3.weight"])
        y = conv(weights, f"{name}.conv.0", x).relu()
        y = conv(weights, f"{name}.conv.2", y).relu()
        return (conv(weights, f"{name}.conv.4", y) + x).relu()

    weights = network.encoder.state_dict()
    assert [f"{i}.pool.0.weight" in weights for i in (5, 9, 11, 12, 13)] == [False, False, True, True, True]
    z = conv(weights, "0", x)
    for name in ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13"):
        z = conv(weights, name, z, 2) if name in ("2", "6", "10") else block(weights, name, z)
    z = conv(weights, "14", z)
    torch.testing.assert_close(network_encode(network, x), z, rtol=1e-4, atol=1e-5)
    assert z.shape == (2, 32, 2, 3)

    weights = network.decoder.state_dict()
    z = 5 * z / z.std()
    y = conv(weights, "1", 3 * torch.tanh(z / 3)).relu()
    for name in ("3", "4", "5", "7", "8", "9", "10", "12", "13", "14", "15", "17", "18"):
        if name in ("7", "12", "17"):
            y = conv(weights, name, y.repeat_interleave(2, -1).repeat_interleave(2, -2))
        else:
            y = block(weights, name, y)
    torch.testing.assert_close(network_decode(network, z), conv(weights, "19", y), rtol=1e-4, atol=1e-5)


def test_taef2_without_its_pooled_branches_is_diffusers_autoencoder() -> None:
    network = new_taef2()
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            nn.init.zeros_(module.weight)
    theirs = AutoencoderTiny(latent_channels=32).eval()
    plain = {k: v for k, v in network.encoder.state_dict().items() if ".pool." not in k}
    theirs.encoder.layers.load_state_dict(plain)
    shifted = {k.partition("."): v for k, v in network.decoder.state_dict().items() if ".pool." not in k}
    theirs.decoder.layers.load_state_dict({f"{int(i) - 1}.{rest}": v for (i, _, rest), v in shifted.items()})
    x = images(2, 3, 16, 16)
    z = network_encode(network, x)
    torch.testing.assert_close(network_encode(theirs, x), z, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network_decode(theirs, z), network_decode(network, z), rtol=1e-4, atol=1e-5)
    assert (channels(theirs), factor(theirs)) == (channels(network), factor(network)) == (32, 8)


def test_kl_gives_the_mode_and_takes_it_back() -> None:
    network = new_kl()
    x = images(2, 3, 8, 8)
    z = network.encode(x * 2 - 1).latent_dist.mean
    torch.testing.assert_close(network_encode(network, x), z)
    torch.testing.assert_close(network_decode(network, z), (network.decode(z).sample + 1) / 2)
    assert z.shape[1:] == (channels(network), 8 // factor(network), 8 // factor(network))


def test_latents_are_normalised_and_images_resized() -> None:
    network = new_kl()
    mean, std = (0.5, -1.0, 2.0), (2.0, 0.5, 1.0)
    autoencoder = Latents(network, (3, 8, 8), 16, mean, std)
    x = images(2, 3, 8, 8)
    large = F.interpolate(x, (16, 16), mode="bicubic").clamp(0, 1)
    raw = network_encode(network, large)
    z = autoencoder.encode(x)
    assert z.shape[1:] == autoencoder.shape == (3, 8, 8)
    for c in range(3):
        torch.testing.assert_close(z[:, c], (raw[:, c] - mean[c]) / std[c])
    decoded = network_decode(network, raw).clamp(0, 1)
    pooled = (decoded[..., ::2, ::2] + decoded[..., 1::2, ::2] + decoded[..., ::2, 1::2] + decoded[..., 1::2, 1::2]) / 4
    torch.testing.assert_close(autoencoder.decode(z), pooled)


def test_grey_images_go_through_an_rgb_autoencoder() -> None:
    autoencoder = Latents(new_kl(), (1, 16, 16), 16, (0.0,), (1.0,))
    colour = Latents(autoencoder.network, (3, 16, 16), 16, (0.0,), (1.0,))
    x = images(2, 1, 16, 16)
    z = autoencoder.encode(x)
    torch.testing.assert_close(z, colour.encode(x.repeat(1, 3, 1, 1)))
    torch.testing.assert_close(autoencoder.decode(z), colour.decode(z).mean(1, keepdim=True))


def test_decoding_is_differentiable() -> None:
    autoencoder = Latents(new_kl(), (3, 8, 8), 16, (0.0,), (1.0,))
    z = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    direction = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.enable_grad():
        x = z.clone().requires_grad_()
        (slope,) = torch.autograd.grad(autoencoder.decode(x).sum(), x)
    step = 1e-2
    change = autoencoder.decode(z + step * direction).sum() - autoencoder.decode(z - step * direction).sum()
    assert (slope * direction).sum().item() == pytest.approx(change.item() / (2 * step), rel=0.05)


@pytest.mark.parametrize(("old", "new"), [(8, 8), (8, 24), (24, 8), (10, 7)])
def test_resizing_keeps_a_plain_colour_and_the_size(old: int, new: int) -> None:
    x = torch.tensor([0.25, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, old, old)
    torch.testing.assert_close(resize(x, new), x[..., :1, :1].expand(1, 3, new, new))


@pytest.mark.parametrize("side", [16, 24])
def test_guidance_decodes_without_clamping_and_storing_with_it(side: int) -> None:
    """Every pixel has a gradient, also those beyond black and white, where a clamped one has none."""
    network = new_kl()
    network.decoder.conv_out.weight.mul_(4)
    autoencoder = Latents(network, (3, side, side), 16, (0.1,) * 3, (3.0,) * 3)
    z = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    weights = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))

    def plain(z: Tensor) -> Tensor:
        made = (network.decode(3 * z + 0.1).sample + 1) / 2
        return made if side == 16 else F.interpolate(made, (side, side), mode="bicubic")

    def gradient(decode: Callable[[Tensor], Tensor]) -> Tensor:
        x = z.clone().requires_grad_()
        return torch.autograd.grad((decode(x) * weights).sum(), x)[0]

    made = plain(z)
    beyond = ((made < 0) | (made > 1)).float().mean().item()
    assert 0.1 < beyond < 0.9
    torch.testing.assert_close(autoencoder.decode(z, clamp=False), made)
    wanted = gradient(plain)
    torch.testing.assert_close(gradient(lambda x: autoencoder.decode(x, clamp=False)), wanted, rtol=1e-4, atol=1e-5)
    clamped = gradient(autoencoder.decode)
    assert F.cosine_similarity(clamped.flatten(), wanted.flatten(), dim=0) < 0.98
    stored = autoencoder.decode(z)
    assert stored.amin() >= 0
    assert stored.amax() <= 1


def test_pixels_are_clamped_where_they_are_stored() -> None:
    z = torch.tensor([-3.0, -1.0, 0.0, 1.0, 2.0]).view(1, 1, 1, 5)
    assert Pixels().decode(z).flatten().tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert Pixels().decode(z, clamp=False).flatten().tolist() == [-1.0, 0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize("kind", ["taef2", "kl", "tiny"])
def test_a_folder_keeps_an_autoencoder(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    if kind == "taef2":
        save_taef2(source, new_taef2())
    else:
        (new_kl() if kind == "kl" else AutoencoderTiny(latent_channels=5)).save_pretrained(source)
    network = load_network(source)
    C = channels(network)
    autoencoder = Latents(network, (3, 16, 16), 16, (0.5,) * C, (2.0,) * C)
    save_latents(autoencoder, source, tmp_path / "generator")
    again = load_latents(tmp_path / "generator", (3, 16, 16))
    x = images(2, 3, 16, 16)
    assert torch.equal(again.encode(x), autoencoder.encode(x))
    low = load_latents(tmp_path / "generator", (3, 16, 16), "bfloat16")
    z = low.encode(x)
    assert next(low.network.parameters()).dtype == torch.bfloat16
    assert z.dtype == low.decode(z).dtype == torch.float32
    torch.testing.assert_close(z, again.encode(x), rtol=0.1, atol=0.1)


def test_a_bad_autoencoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder of an autoencoder"):
        load_network(tmp_path / "none")
    with pytest.raises(UserError, match=r"no autoencoder: neither config\.json of diffusers nor encoder"):
        load_network(tmp_path)
    save_taef2(tmp_path, new_taef2())
    (tmp_path / "encoder.safetensors").rename(tmp_path / "aside")
    with pytest.raises(UserError, match=r"encoder\.safetensors: no such file"):
        load_network(tmp_path)
    (tmp_path / "aside").rename(tmp_path / "encoder.safetensors")
    save_tensors(tmp_path / "decoder.safetensors", {"1.weight": torch.zeros(1)})
    with pytest.raises(UserError, match=r"decoder\.safetensors: not the weights of taef2"):
        load_network(tmp_path)
    write_json(tmp_path / "config.json", {"_class_name": "VQModel"})
    with pytest.raises(UserError, match="autoencoder 'VQModel'; use one of AutoencoderKL, AutoencoderTiny"):
        load_network(tmp_path)
    write_json(tmp_path / "config.json", {"_class_name": "AutoencoderKL"})
    (tmp_path / "encoder.safetensors").unlink()
    (tmp_path / "decoder.safetensors").unlink()
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match=r"diffusion_pytorch_model\.bin: a pickle"):
        load_network(tmp_path)


def test_a_bad_normalisation_is_named(tmp_path: Path) -> None:
    new_kl().save_pretrained(tmp_path / "autoencoder")
    write_json(tmp_path / "latents.json", {"image_size": 16, "mean": [0, 0, 0]})
    with pytest.raises(UserError, match=r"latents\.json: needs image_size, mean and std"):
        load_latents(tmp_path)
    write_json(tmp_path / "latents.json", {"image_size": 16, "mean": [0, 0], "std": [1, 1]})
    with pytest.raises(UserError, match="does not fit an autoencoder of 3 channels, 2 times smaller"):
        load_latents(tmp_path)
