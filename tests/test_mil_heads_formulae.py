"""Each head is what its paper says: the formula, written out tile by tile, gives the same numbers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from mil import build_head
from mil.head import Head, Setting

TILES = torch.randn(7, 5, generator=torch.Generator().manual_seed(2))
WHOLE = torch.ones(1, 7, dtype=torch.bool)


def made(name: str, out_dim: int, settings: Mapping[str, Setting]) -> tuple[Head, dict[str, Tensor], Tensor]:
    """A head, its weights, and its embedding of the seven tiles."""
    torch.manual_seed(0)
    head = build_head(name, 5, out_dim, {"hidden": 4} | dict(settings)).eval()
    weights = {key: value.detach() for key, value in head.named_parameters()}
    return head, weights, torch.relu(linear(TILES, weights, "embed.0"))


def linear(tiles: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    return functional.linear(tiles, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def gated(hidden: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """Equation 9 of Ilse et al. for the attentions of `GatedAttention` [N, G]."""
    count, width = weights["attend.weigh"].shape
    both = torch.tanh(linear(hidden, weights, "attend.content")) * torch.sigmoid(linear(hidden, weights, "attend.gate"))
    score = [both[:, g * width : (g + 1) * width] @ weights["attend.weigh"][g] for g in range(count)]
    return torch.softmax(torch.stack(score, dim=1), dim=0)


def test_every_attention_of_several_is_equation_9_of_ilse() -> None:
    head, weights, hidden = made("abmil_multi", 2, {"heads": 3, "attention": 2})
    alpha = gated(hidden, weights)
    pooled = torch.cat([alpha[:, m] @ hidden for m in range(3)])
    output = head(TILES[None], WHOLE, explain=True)
    assert_close(output.logits[0], linear(pooled, weights, "read"))
    assert_close(output.attention[0], alpha.mean(dim=1))


def test_a_branch_looks_for_one_class_only() -> None:
    head, weights, hidden = made("abmil_multi", 2, {"heads": 3, "attention": 2, "branches": True})
    alpha = gated(hidden, weights)  # six: three heads of class 0, then three of class 1
    logits = head(TILES[None], WHOLE).logits[0]
    for c in range(2):
        pooled = torch.cat([alpha[:, 3 * c + m] @ hidden for m in range(3)])
        assert_close(logits[c], pooled @ weights["read.weight"][c] + weights["read.bias"][c])


def test_additive_is_the_sum_of_what_the_classifier_says_of_weighed_tiles() -> None:
    head, weights, hidden = made("additive", 2, {"attention": 3, "classifier": 3})
    alpha = gated(hidden, weights)
    said = torch.relu((alpha * hidden) @ weights["inner.weight"].T) @ weights["outer.weight"].T
    output = head(TILES[None], WHOLE, explain=True)
    assert_close(output.logits[0], said.sum(dim=0) + weights["outer.bias"])
    assert_close(output.contributions[0], said)


def test_the_mean_of_features_goes_through_the_network() -> None:
    head = build_head("mean_mlp", 5, 2).eval()
    weights = dict(head.named_parameters())
    expected = linear(torch.relu(linear(TILES.mean(dim=0), weights, "layer")), weights, "after.2")
    assert_close(head(TILES[None], WHOLE).logits[0], expected)


def test_dsmil_is_half_the_best_tile_and_half_what_is_like_it() -> None:
    head, weights, hidden = made("dsmil", 2, {"query": 3})
    score = linear(hidden, weights, "instance")
    query = torch.tanh(linear(torch.relu(linear(hidden, weights, "query.0")), weights, "query.2"))
    pooled = []
    for c in range(2):
        likeness = query @ query[score[:, c].argmax()] / 3**0.5
        pooled.append(torch.softmax(likeness, dim=0) @ hidden)
    bag = linear(torch.cat(pooled), weights, "read")
    assert_close(head(TILES[None], WHOLE).logits[0], (score.amax(dim=0) + bag) / 2)
    seen: list[Tensor] = []

    def bag_loss(logits: Tensor) -> Tensor:
        seen.append(logits[0])
        return torch.tensor(float(2 ** len(seen)))  # 2 for the first, 4 for the second

    assert_close(head.objective(TILES[None], WHOLE, bag_loss, None), torch.tensor(3.0))
    assert_close(seen[0], score.amax(dim=0))
    assert_close(seen[1], bag)


def test_noisy_or_is_one_minus_the_chance_that_no_tile_is() -> None:
    head, weights, hidden = made("noisy_or", 2, {"concepts": 3})
    chance = torch.sigmoid(linear(hidden, weights, "concept"))
    presence = 1 - (1 - chance).prod(dim=0)
    expected = presence @ functional.softplus(weights["read.raw"]).T + weights["read.bias"]
    assert_close(head(TILES[None], WHOLE).logits[0], expected)


def test_the_best_tile_of_each_concept_decides() -> None:
    head, weights, hidden = made("instance_max", 2, {"concepts": 3})
    presence = torch.sigmoid(linear(hidden, weights, "concept")).amax(dim=0)
    expected = presence @ functional.softplus(weights["read.raw"]).T + weights["read.bias"]
    assert_close(head(TILES[None], WHOLE).logits[0], expected)


@pytest.mark.parametrize("name", ["noisy_or", "instance_max", "clam_sb", "dsmil"])
def test_the_logits_of_tiles_tell_tiles_apart(name: str) -> None:
    head, _, _ = made(name, 2, {})
    instances = head(TILES[None], WHOLE, explain=True).instances
    assert instances.shape == (1, 7, 2)
    if head.respects_mil_assumption:  # there a tile's logit is that of a slide of this tile alone
        alone = head(TILES[:, None], torch.ones(7, 1, dtype=torch.bool)).logits
        assert_close(instances[0], alone)


def rms(tokens: Tensor, weight: Tensor) -> Tensor:
    return tokens / (tokens.square().mean(dim=-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt() * weight


def layer(queries: Tensor, source: Tensor, weights: Mapping[str, Tensor], name: str, heads: int) -> Tensor:
    """One layer of the transformer, with the matrix of weights written out."""
    known, asking = (rms(part, weights[f"{name}.before.weight"]) for part in (source, queries))
    key, value = linear(known, weights, f"{name}.attend.key_value").chunk(2, dim=-1)
    query = linear(asking, weights, f"{name}.attend.query")
    width = query.shape[-1] // heads
    found = []
    for h in range(heads):
        own = slice(h * width, (h + 1) * width)
        found.append(torch.softmax(query[:, own] @ key[:, own].T / width**0.5, dim=-1) @ value[:, own])
    gate = torch.sigmoid(linear(asking, weights, f"{name}.attend.gate"))
    queries = queries + linear(gate * torch.cat(found, dim=-1), weights, f"{name}.attend.out")
    inner = rms(queries, weights[f"{name}.between.weight"])
    left, right = linear(inner, weights, f"{name}.think.wide").chunk(2, dim=-1)
    return queries + linear(functional.silu(left) * right, weights, f"{name}.think.out")


def test_the_transformer_is_attention_written_out() -> None:
    head, weights, hidden = made("transformer", 2, {"heads": 2, "layers": 2})
    tiles = layer(hidden, hidden, weights, "blocks.0", 2)
    query = layer(weights["query"][0], tiles, weights, "blocks.1", 2)
    expected = linear(rms(query, weights["norm.weight"]), weights, "read")
    assert_close(head(TILES[None], WHOLE).logits, expected)


def cross(queries: Tensor, source: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    """Gated cross-attention of ILRA with one head, the matrix of weights written out."""
    key, value = linear(source, weights, f"{name}.key_value").chunk(2, dim=-1)
    query = linear(queries, weights, f"{name}.query")
    found = torch.softmax(query @ key.T / query.shape[-1] ** 0.5, dim=-1) @ value
    return linear(functional.silu(linear(queries, weights, f"{name}.gate")) * found, weights, f"{name}.out")


def test_ilra_speaks_through_latents_and_gathers_with_one_query() -> None:
    head, weights, tiles = made("ilra", 2, {"heads": 1, "latents": 3, "layers": 2})

    def norm(tokens: Tensor, name: str) -> Tensor:
        return functional.layer_norm(tokens, (4,), weights[f"{name}.weight"], weights[f"{name}.bias"])

    for block in ("blocks.0", "blocks.1"):
        latents = weights[f"{block}.latents"][0]
        latents = latents + cross(latents, norm(tiles, f"{block}.norm"), weights, f"{block}.gather")
        known = norm(latents, f"{block}.gathered")
        tiles = tiles + cross(norm(tiles, f"{block}.norm"), known, weights, f"{block}.tell")
    query = weights["query"][0]
    pooled = norm(query + cross(query, norm(tiles, "norm"), weights, "attend"), "pooled")
    assert_close(head(TILES[None], WHOLE).logits, linear(pooled, weights, "read"))


def test_a_context_that_holds_all_tiles_is_no_approximation() -> None:
    head, _, _ = made("transformer", 2, {"heads": 2, "context": 7})
    again, _, _ = made("transformer", 2, {"heads": 2, "context": 6})
    assert_close(head(TILES[None], WHOLE).logits, made("transformer", 2, {"heads": 2})[0](TILES[None], WHOLE).logits)
    assert not torch.equal(head(TILES[None], WHOLE).logits, again(TILES[None], WHOLE).logits)


def test_clam_learns_from_both_ends_of_the_attention() -> None:
    head, weights, hidden = made("clam_sb", 2, {"k": 2, "bag_weight": 0.25, "subtyping": True})
    alpha = gated(hidden, weights)[:, 0]
    order = alpha.argsort(descending=True)
    own, other = linear(hidden, weights, "instance").T  # the slide is of the first class
    told = torch.cat([own[order[:2]], own[order[-2:]], other[order[:2]]])
    truth = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    inner = functional.binary_cross_entropy_with_logits(told, truth)
    found = head.objective(TILES[None], WHOLE, lambda _: torch.tensor(8.0), torch.tensor([[True, False]]))
    assert_close(found, 0.25 * 8.0 + 0.75 * inner)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_clam_takes_no_more_tiles_than_there_are(count: int) -> None:
    head, weights, hidden = made("clam_mb", 1, {"k": 8, "bag_weight": 0.0})
    order = gated(hidden[:count], weights)[:, 0].argsort(descending=True)
    own = linear(hidden[:count], weights, "instance")[:, 0]
    told = own[order[[0, -1]]] if count > 1 else own
    inner = functional.binary_cross_entropy_with_logits(told, torch.tensor([1.0, 0.0])[: len(told)])
    found = head.objective(TILES[None, :count], WHOLE[:, :count], lambda _: torch.tensor(8.0), torch.tensor([[True]]))
    assert_close(found, inner)


def test_clam_learns_no_tile_of_a_slide_whose_class_is_not_known() -> None:
    head, _, _ = made("clam_mb", 3, {"k": 2})
    both, known = torch.stack([TILES, TILES + 1]), torch.tensor([[False, True, False], [False, False, False]])

    def inner(features: Tensor, one_hot: Tensor) -> Tensor:
        mask = torch.ones(features.shape[:2], dtype=torch.bool)
        return head.objective(features, mask, lambda _: torch.tensor(0.0), one_hot)

    assert_close(inner(both, known), inner(both[:1], known[:1]))
    assert_close(inner(both, known & False), torch.tensor(0.0))


def test_dtfd_learns_from_both_tiers() -> None:
    head, _, _ = made("dtfd", 2, {"groups": 3, "bag_weight": 0.25, "inner": "mean"})
    seen: list[Tensor] = []

    def bag_loss(logits: Tensor) -> Tensor:
        assert logits.shape == (1, 2)
        seen.append(logits)
        return torch.tensor(float(len(seen)))  # 1, 2 and 3 for the pseudo-bags, then 4

    assert_close(head.objective(TILES[None], WHOLE, bag_loss, None), torch.tensor(0.25 * 4 + 0.75 * 2))


def test_evidence_too_small_to_write_down_is_shared_evenly() -> None:
    head, weights, _ = made("noisy_or", 2, {"concepts": 3})
    weights["concept.bias"].fill_(-1e4)
    output = head(TILES[None], WHOLE, explain=True)
    assert_close(output.attention, torch.full((1, 7), 1 / 7))
    assert_close(output.contributions.sum(dim=1) + head.bias, output.logits)
