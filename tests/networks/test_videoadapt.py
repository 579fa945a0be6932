"""The video reblurring network: the authors' function, the corrected pairing, precision and pruning."""

import pytest
import torch
from parity import assert_same_keys, case, distance, fill, seeded, without_gradient
from torch import nn

from deblurcli.networks.videoadapt import CENTRE, FRAMES, Block, RegionViT, VideoAdapt

NOISE = 3e-7
ATTENTION_NOISE = 4e-6


def tiny(**options):
    return fill(VideoAdapt(n_feats=4, n_layers=1, attention_dim=32, **options))


def tiny_attention(authors_pairing=False):
    return fill(RegionViT(16, 32, heads=4, depth=4, window=8, authors_pairing=authors_pairing))


@pytest.fixture(scope="module")
def authors():
    return fill(VideoAdapt(authors_pairing=True))


def test_keys_shapes_and_counts(authors):
    facts, _ = case("videoadapt")
    assert_same_keys(authors, facts)
    assert_same_keys(VideoAdapt(), facts)


@torch.no_grad()
def test_the_authors_function(authors):
    _, arrays = case("videoadapt")
    seen = []
    hook = authors.attn3.register_forward_hook(lambda module, inputs, output: seen.append(output))
    assert distance(authors(torch.from_numpy(arrays["input"])), arrays["output_0"]) < 10 * NOISE
    hook.remove()
    assert distance(seen[0][:, :16], arrays["attn3_centre"]) < 10 * ATTENTION_NOISE
    assert distance(authors(seeded(8, (1, 5, 3, 64, 96))), arrays["output_64x96"]) < 10 * NOISE
    assert distance(authors(seeded(9, (2, 5, 3, 32, 96))), arrays["output_batch2_32x96"]) < 10 * NOISE


@torch.no_grad()
def test_the_authors_function_with_strong_attention():
    _, arrays = case("videoadapt")
    network = fill(VideoAdapt(authors_pairing=True))
    for key, value in network.state_dict().items():
        if key.endswith(("attn.qkv.weight", "cross_attn.q.weight", "cross_attn.kv.weight")):
            value.mul_(3)
    seen = []
    network.attn3.register_forward_hook(lambda module, inputs, output: seen.append(output))
    assert distance(network(seeded(8, (1, 5, 3, 64, 96))), arrays["output_64x96_strong"]) < 10 * NOISE
    assert distance(seen[0][:, :16], arrays["attn3_centre_64x96_strong"]) < 10 * ATTENTION_NOISE


def test_widths():
    assert sum(p.numel() for p in VideoAdapt().parameters()) == 10_436_979
    assert sum(p.numel() for p in VideoAdapt(n_feats=16).parameters()) == 2_619_331
    ours, theirs = VideoAdapt(n_feats=16, attention_dim=128), VideoAdapt(n_feats=16, authors_pairing=True)
    shapes = [{key: value.shape for key, value in network.state_dict().items()} for network in (ours, theirs)]
    assert shapes[0] == shapes[1]


@torch.no_grad()
def test_a_regional_token_influences_its_own_window_alone():
    attention, block = tiny_attention(), fill(Block(32, 4, 8, 0.1))
    regional, local = torch.randn(FRAMES, 6, 32), torch.randn(FRAMES, 6, 64, 32)
    _, before = block.local_attention(attention.pair(regional), local)
    for frame, window in ((0, 0), (CENTRE, 4), (4, 5)):
        moved = regional.clone()
        moved[frame, window] += torch.randn(32)
        refined, after = block.local_attention(attention.pair(moved), local)
        changed = (after != before).flatten(2).any(2).nonzero().tolist()
        assert changed == [[frame, window]]
        assert torch.equal(attention.unpair(refined), refined)


@torch.no_grad()
def test_the_authors_pairing_returns_tokens_to_their_place():
    attention = tiny_attention(authors_pairing=True)
    regional = torch.randn(2 * FRAMES, 6, 32)
    assert torch.equal(attention.unpair(attention.pair(regional)), regional)
    # Place b * windows + w holds the token that the other order numbers so: token w', frame b' with w' * frames + b'.
    assert torch.equal(attention.pair(regional)[3, 2], regional[(3 * 6 + 2) % 10, (3 * 6 + 2) // 10])


@torch.no_grad()
def windows_reached(attention, height, width):
    """Numbers of the centre frame's windows whose output changes when cross-frame attention is taken out."""
    features = torch.randn(FRAMES, 16, height, width, generator=torch.Generator().manual_seed(1))
    before = attention(features)
    for module in attention.modules():
        if isinstance(module, Block):
            nn.init.zeros_(module.cross_attn.proj.weight)
            nn.init.zeros_(module.cross_attn.proj.bias)
    changed = (attention(features) - before).abs().amax(1)[0]
    changed = changed.unflatten(1, (-1, 8)).unflatten(0, (-1, 8)).amax((1, 3)).flatten()
    return (changed > 0).nonzero().flatten().tolist()


@pytest.mark.parametrize("size", [(16, 16), (24, 32), (64, 64)])
def test_cross_frame_attention_reaches_every_window(size):
    assert windows_reached(tiny_attention(), *size) == list(range(size[0] * size[1] // 64))


def test_cross_frame_attention_reaches_few_windows_in_the_authors_pairing():
    assert windows_reached(tiny_attention(authors_pairing=True), 16, 16) == []
    assert windows_reached(tiny_attention(authors_pairing=True), 64, 64) == list(range(4, 64, 5))


@torch.no_grad()
def test_every_neighbour_is_seen_at_64x64():
    network, clip = tiny(), seeded(1, (1, 5, 3, 64, 64))
    before = network(clip)
    for frame in range(FRAMES):
        moved = clip.clone()
        moved[:, frame] = 1 - moved[:, frame]
        assert (network(moved) - before).abs().max() > 1e-5


def unpruned(attention, features):
    """The transformer with nothing left out: every frame's every token through every block."""
    height, width = (side // attention.window for side in features.shape[-2:])
    windows = features.unflatten(3, (width, 8)).unflatten(2, (height, 8)).permute(0, 2, 4, 3, 5, 1)
    windows = windows.reshape(len(features), height * width, 64, -1)
    local, regional = attention.patch_embed(windows), attention.regional_embed(windows)
    for block in attention.layers[0]["blocks"]:
        regional = attention.pair(block.across_frames(block.within_frames(regional)))
        regional, local = block.local_attention(regional, local)
        regional = attention.unpair(regional)
    image = local.reshape(len(features), height, width, 8, 8, -1).permute(0, 5, 1, 3, 2, 4)
    return attention.head(image.reshape(len(features), -1, 8 * height, 8 * width))[CENTRE::FRAMES]


@pytest.mark.parametrize("authors_pairing", [False, True])
@torch.no_grad()
def test_what_is_left_out_changes_nothing(authors_pairing):
    attention = tiny_attention(authors_pairing)
    features = torch.randn(2 * FRAMES, 16, 16, 24)
    torch.testing.assert_close(attention(features), unpruned(attention, features), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_clips_of_a_batch_are_independent():
    network, clips = tiny(), seeded(2, (2, 5, 3, 32, 64))
    torch.testing.assert_close(network(clips), torch.cat([network(clips[:1]), network(clips[1:])]), atol=1e-6, rtol=0)


@torch.no_grad()
def test_reduced_precision_touches_the_change_only():
    network, clip = tiny(), seeded(3, (1, 5, 3, 64, 64))
    exact = network(clip)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = network(clip)
    assert reduced.dtype == torch.float32
    assert (reduced - exact).abs().max() < 0.02 * (exact - clip[:, CENTRE]).abs().max()
    nn.init.zeros_(network.decode.weight)
    nn.init.zeros_(network.decode.bias)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(clip), clip[:, CENTRE])


@torch.no_grad()
def test_channels_last_gives_the_same():
    clip = seeded(4, (1, 5, 3, 64, 64))
    torch.testing.assert_close(tiny().to(memory_format=torch.channels_last)(clip), tiny()(clip), atol=1e-5, rtol=0)


def test_every_parameter_has_a_gradient():
    network = tiny()
    network(seeded(5, (1, 5, 3, 64, 64))).square().mean().backward()
    without = without_gradient(network)
    assert without == []


@torch.no_grad()
def test_drop_path_is_active_in_train_mode_only():
    network, clip = tiny(), seeded(6, (1, 5, 3, 64, 64))
    assert torch.equal(network(clip), network(clip))
    network.train()
    torch.manual_seed(0)
    assert len({network(clip).sum().item() for _ in range(6)}) > 1
    blocks = network.attn3.layers[0]["blocks"]
    assert [block.drop_path for block in blocks] == pytest.approx([0, 0.1 / 3, 0.2 / 3, 0.1])
    dropped = blocks[3].drop(torch.ones(50, 40, 7, 2), 2)
    assert torch.equal(dropped, dropped[:, :, :1, :1].expand_as(dropped))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.9])
    assert dropped.mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("shape", [(1, 5, 3, 32, 48), (1, 3, 3, 32, 32), (1, 5, 1, 32, 32), (5, 3, 32, 32)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected N x 5 x 3 x H x W"):
        tiny()(torch.zeros(shape))
