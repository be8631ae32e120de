"""Long bags are worked on in parts with the same result, and tiles are dealt by what they are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mil import HEADS, build_head
from mil.dealing import deal, tile_numbers
from mil.pooling import in_chunks


@pytest.mark.parametrize("name", sorted(HEADS))
def test_a_bag_in_parts_scores_as_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    head = build_head(name, 6, 2).eval()
    features, mask = torch.randn(2, 11, 6), torch.arange(11)[None] < torch.tensor([[11], [6]])
    whole = head(features, mask, explain=True)
    monkeypatch.setattr("mil.pooling.CHUNK", 4)
    with torch.no_grad():
        parts = head(features, mask, explain=True)
    torch.testing.assert_close(parts.logits, whole.logits)
    torch.testing.assert_close(parts.attention, whole.attention)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_a_long_bag_is_never_whole_as_a_copy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head = build_head(name, 6).eval()
    encode, seen = head.encode, list[int]()

    def watched(standard: Tensor) -> Tensor:
        seen.append(standard.shape[1])
        return encode(standard)

    monkeypatch.setattr("mil.pooling.CHUNK", 4)
    monkeypatch.setattr(head, "encode", watched)
    with torch.no_grad():
        head(torch.randn(1, 11, 6), torch.ones(1, 11, dtype=torch.bool))
    assert seen == [4, 4, 3]


@given(length=st.integers(1, 30), chunk=st.integers(1, 9))
def test_parts_are_put_together_in_order(length: int, chunk: int) -> None:
    tiles = torch.arange(2 * length * 3, dtype=torch.float32).reshape(2, length, 3)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr("mil.pooling.CHUNK", chunk)
        assert torch.equal(in_chunks(lambda a, b: (a + b).sum(-1), tiles, tiles), 2 * tiles.sum(-1))


def test_a_tile_has_its_numbers_whatever_its_company() -> None:
    tiles = torch.randn(3, 50, 17)
    numbers = tile_numbers(tiles, 2)
    order = torch.randperm(50)
    assert torch.equal(tile_numbers(tiles[:, order], 2), numbers[:, order])
    assert torch.equal(tile_numbers(tiles[1:2, 7:8], 2), numbers[1:2, 7:8])
    assert torch.equal(tile_numbers(tiles, 5)[..., :2], numbers)
    assert not torch.equal(numbers[..., 0], numbers[..., 1])


@pytest.mark.parametrize("step", [1.0, 1e-6])
def test_numbers_are_spread_evenly_and_splits_do_not_agree(step: float) -> None:
    tiles = torch.zeros(1, 20_000, 3)
    tiles[0, :, 1] = 1 + step * torch.arange(20_000)  # tiles that hardly differ, as neighbours on a slide do
    numbers = tile_numbers(tiles, 3)[0].double()
    assert bool((numbers >= 0).all())
    assert bool((numbers < 1).all())
    counts = torch.histc(numbers[:, 0], 8, 0, 1) / len(numbers)
    assert bool((counts - 1 / 8).abs().max() < 0.02)
    assert bool((torch.corrcoef(numbers.T) - torch.eye(3)).abs().max() < 0.05)


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), count=st.integers(1, 5), seed=st.integers(0, 99))
def test_every_tile_is_dealt_once_and_found_again(sizes: list[int], count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(sizes))[None] < torch.tensor(sizes)[:, None]
    hidden = torch.randn(*mask.shape, 2, generator=generator)
    group = torch.randint(count, mask.shape, generator=generator)
    parts, shown, place = deal(hidden, mask, group, count)
    assert int(shown.sum()) == sum(sizes)
    assert not bool(parts[~shown].any())
    assert torch.equal(parts.flatten(0, 1)[place][mask], hidden[mask])
    for bag in range(len(sizes)):
        for wanted in range(count):
            mine = parts[bag * count + wanted][shown[bag * count + wanted]]
            assert torch.equal(mine, hidden[bag][mask[bag] & (group[bag] == wanted)])


def test_twins_stay_together_and_a_random_deal_is_for_training_only() -> None:
    torch.manual_seed(3)
    head = build_head("dtfd", 6, 1, {"dropout": 0.0})
    features, mask = torch.randn(1, 40, 6), torch.ones(1, 40, dtype=torch.bool)
    assert not torch.equal(head.train()(features, mask).logits, head(features, mask).logits)
    assert torch.equal(head.eval()(features, mask).logits, head(features, mask).logits)
    torch.testing.assert_close(
        head(torch.cat([features, features], dim=1), torch.cat([mask, mask], dim=1)).logits, head(features, mask).logits
    )
