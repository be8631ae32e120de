"""The conformance kit of heads: subclass `HeadConformance`, name your head, and pytest runs all of it.

    class TestMyHead(HeadConformance):
        name = "my-head"

Each test is a defect found in a published toolkit: padding that is attended, a prediction that changes when attention
is asked for, a batch that scores differently from its members, a label that is needed to predict.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.testing import assert_close

from mil.errors import EmptyBagError
from mil.head import Head, HeadOutput, Setting, build_head, settings_of


class HeadConformance:
    """What every head must satisfy."""

    name: str
    """The head, as in `mil.HEADS`."""
    settings: Mapping[str, Setting] = {}
    """Settings that differ from its defaults."""
    in_dim: int = 12
    """Width D of the test features."""
    out_dim: int = 2
    """Number C of logits."""
    duplicate_invariant: bool = True
    """False for heads whose score grows with the number of positive tiles by design (noisy-or)."""

    def make(self) -> Head:
        """Build the head under test.

        Returns:
            A seeded head in evaluation mode, with a standardiser that does something.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            head = build_head(self.name, self.in_dim, self.out_dim, self.settings)
            head.mean.copy_(torch.randn(self.in_dim))
            head.scale.copy_(torch.rand(self.in_dim) + 0.5)
        return head.eval()

    def bags(self, count: int = 3, tiles: int = 9) -> tuple[Tensor, Tensor]:
        """Draw test bags.

        Args:
            count: Bags B.
            tiles: Tiles N of the longest; each next bag has one less.

        Returns:
            Features [B, N, D] and mask bool [B, N].
        """
        generator = torch.Generator().manual_seed(11)
        features = torch.randn(count, tiles, self.in_dim, generator=generator)
        mask = torch.arange(tiles)[None] < (tiles - torch.arange(count))[:, None]
        return features, mask

    def test_order_of_tiles_does_not_matter(self) -> None:
        """Permute the tiles: same logits, and what is said of a tile moves with it."""
        head, (features, mask) = self.make(), self.bags()
        order = torch.randperm(mask.shape[1], generator=torch.Generator().manual_seed(3))
        one, two = _explain(head, features, mask), _explain(head, features[:, order], mask[:, order])
        assert_close(two.logits, one.logits)
        for first, second in zip(_said(one), _said(two), strict=True):
            assert_close(second, first[:, order])

    def test_padding_does_not_matter(self) -> None:
        """Append padding full of NaN: same logits, nothing at the padding."""
        head, (features, mask) = self.make(), self.bags()
        rubbish = torch.full((len(features), 5, self.in_dim), torch.nan)
        longer = torch.cat([mask, torch.zeros(len(mask), 5, dtype=torch.bool)], dim=1)
        one, two = _explain(head, features, mask), _explain(head, torch.cat([features, rubbish], dim=1), longer)
        assert_close(two.logits, one.logits)
        for part in _said(two):
            assert_close(part[~longer], torch.zeros_like(part[~longer]))

    def test_a_tile_twice_is_a_tile_once(self) -> None:
        """Repeat every tile: the slide is the same slide."""
        if not self.duplicate_invariant:
            return
        head, (features, mask) = self.make(), self.bags()
        twice = head(features.repeat(1, 2, 1), mask.repeat(1, 2))
        assert_close(twice.logits, head(features, mask).logits)

    def test_a_batch_scores_as_its_members(self) -> None:
        """Score bags together and one by one: same logits, and the same is said of each tile."""
        head, (features, mask) = self.make(), self.bags()
        together = _explain(head, features, mask)
        for i, count in enumerate(int(count) for count in mask.sum(dim=1)):
            alone = _explain(head, features[i : i + 1, :count], mask[i : i + 1, :count])
            assert_close(together.logits[i], alone.logits[0])
            for first, second in zip(_said(together), _said(alone), strict=True):
                assert_close(first[i, :count], second[0])

    def test_one_tile_is_enough(self) -> None:
        """Score a bag of one tile; it has all the attention."""
        features, mask = self.bags(count=1, tiles=1)
        output = _explain(self.make(), features, mask)
        if output.attention is not None:
            assert_close(output.attention, torch.ones(1, 1))
        assert_close(torch.isfinite(output.logits).all(), torch.tensor(data=True))

    def test_no_tile_is_refused(self) -> None:
        """Score a bag of padding only.

        Raises:
            AssertionError: It was scored.
        """
        features, mask = self.bags()
        try:
            self.make()(features, mask & (torch.arange(len(mask)) != 1)[:, None])
        except EmptyBagError:
            return
        raise AssertionError("a bag without tiles was scored")

    def test_every_weight_learns(self) -> None:
        """Send a gradient back from what is minimised: each parameter gets one, and padding gets none.

        Raises:
            AssertionError: A parameter has no gradient.
        """
        head, (features, mask) = self.make(), self.bags()
        features.requires_grad_()
        _minimised(head, features, mask).backward()
        for name, value in head.named_parameters():
            if value.grad is None or not bool(torch.isfinite(value.grad).all()) or not bool(value.grad.any()):
                raise AssertionError(f"{name} gets no gradient")
        if features.grad is None:
            raise AssertionError("the features get no gradient")
        assert_close(features.grad[~mask], torch.zeros_like(features.grad[~mask]))

    def test_asking_why_changes_nothing(self) -> None:
        """Ask for the explanation, in evaluation and (same seed) in training: the same bits."""
        head, (features, mask) = self.make(), self.bags()
        for mode in (False, True):
            head.train(mode)
            logits = []
            for explain in (False, True):
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(5)
                    logits.append(head(features, mask, explain=explain).logits)
            assert_close(logits[1], logits[0], rtol=0, atol=0)

    def test_contributions_sum_to_the_logit(self) -> None:
        """Add up the contributions and the bias; add up the attention.

        Raises:
            AssertionError: The head gives contributions though it is not additive, or the reverse.
        """
        head, (features, mask) = self.make(), self.bags()
        output = _explain(head, features, mask)
        if (output.contributions is not None) is not head.additive:
            raise AssertionError("a head gives contributions if, and only if, it is additive")
        if output.contributions is not None:
            assert_close(output.contributions.sum(dim=1) + head.bias, output.logits)
        if output.attention is not None:
            assert_close(output.attention.sum(dim=1), torch.ones(len(mask)))

    def test_mixed_precision_is_close(self) -> None:
        """Score in bfloat16: the logits move by no more than its precision explains."""
        head, (features, mask) = self.make(), self.bags()
        exact = head(features, mask).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = head(features, mask).logits
        assert_close(rough.float(), exact, rtol=0.05, atol=0.05)

    def test_what_is_minimised_goes_down(self) -> None:
        """Take a few steps, with classes and without: all finite, and the loss of the bag goes down with the rest.

        Raises:
            AssertionError: Something is not finite or did not go down.
        """
        head, (features, mask) = self.make(), self.bags(count=6)
        bag_loss = _bag_loss(len(mask))
        before = torch.stack([_minimised(head, features, mask), bag_loss(head(features, mask).logits)])
        optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
        for _ in range(12):
            optimizer.zero_grad()
            _minimised(head, features, mask).backward()
            optimizer.step()
        after = torch.stack([_minimised(head, features, mask), bag_loss(head(features, mask).logits)])
        without = head.objective(features, mask, bag_loss, None)
        if not bool(torch.isfinite(without)) or not bool((after < before).all()):
            raise AssertionError("what is minimised did not go down")

    def test_one_more_tile_lowers_nothing(self) -> None:
        """Add tiles near and far: where the head claims the standard assumption, no logit falls.

        Raises:
            AssertionError: A logit fell.
        """
        head = self.make()
        if not head.respects_mil_assumption:
            return
        features, mask = self.bags(count=1)
        for seed, size in enumerate((0.1, 1.0, 10.0, 1e3, 1e6)):
            more = size * torch.randn(20, 1, self.in_dim, generator=torch.Generator().manual_seed(seed))  # [20, 1, D]
            grown = torch.cat([features.expand(20, -1, -1), more], dim=1)  # [20, N + 1, D]
            gain = head(grown, torch.ones(grown.shape[:2], dtype=torch.bool)).logits - head(features, mask).logits
            if bool((gain < -1e-6).any()):
                raise AssertionError("one more tile lowered the score of a head that claims it cannot")

    def test_settings_rebuild_the_head(self) -> None:
        """Send the settings through JSON, build again, load the weights: the same bits."""
        head, (features, mask) = self.make(), self.bags()
        again = build_head(self.name, self.in_dim, self.out_dim, json.loads(json.dumps(settings_of(head))))
        again.load_state_dict(head.state_dict())
        assert_close(again.eval()(features, mask).logits, head(features, mask).logits, rtol=0, atol=0)


def _explain(head: Head, features: Tensor, mask: Tensor) -> HeadOutput:
    with torch.no_grad():
        output: HeadOutput = head(features, mask, explain=True)
    return output


def _said(output: HeadOutput) -> list[Tensor]:
    """What a head says of single tiles, whichever it gives, [B, N, ...] each."""
    said = (output.contributions, output.attention, output.instances)
    return [part for part in said if part is not None]


def _bag_loss(count: int) -> Callable[[Tensor], Tensor]:
    def loss(logits: Tensor) -> Tensor:
        wanted = (torch.arange(count)[:, None] + torch.arange(logits.shape[1])) % 2  # [B, C], 0 and 1 in turn
        return torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), wanted.float())

    return loss


def _minimised(head: Head, features: Tensor, mask: Tensor) -> Tensor:
    one_hot = (torch.arange(len(mask))[:, None] + torch.arange(head.out_dim)) % 2 == 1  # bool [B, C]
    return head.objective(features, mask, _bag_loss(len(mask)), one_hot)
