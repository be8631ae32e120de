"""The conformance kit of heads: subclass `HeadConformance`, name your head, and pytest runs all of it.

    class TestMyHead(HeadConformance):
        name = "my-head"

Each test is a defect found in a published toolkit: padding that is attended, a prediction that changes when attention
is asked for, a batch that scores differently from its members.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.testing import assert_close

from mil.errors import EmptyBagError
from mil.head import Head, HeadOutput, build_head


class HeadConformance:
    """What every head must satisfy."""

    name: str
    """The head, as in `mil.HEADS`."""
    settings: Mapping[str, int | float] = {}
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
        """Permute the tiles: same logits, permuted contributions."""
        head, (features, mask) = self.make(), self.bags()
        order = torch.randperm(mask.shape[1], generator=torch.Generator().manual_seed(3))
        one, two = _explain(head, features, mask), _explain(head, features[:, order], mask[:, order])
        assert_close(two.logits, one.logits)
        assert_close(two.contributions, _given(one.contributions)[:, order])

    def test_padding_does_not_matter(self) -> None:
        """Append padding full of NaN: same logits, nothing at the padding."""
        head, (features, mask) = self.make(), self.bags()
        rubbish = torch.full((len(features), 5, self.in_dim), torch.nan)
        longer = torch.cat([mask, torch.zeros(len(mask), 5, dtype=torch.bool)], dim=1)
        one, two = _explain(head, features, mask), _explain(head, torch.cat([features, rubbish], dim=1), longer)
        assert_close(two.logits, one.logits)
        for part in (_given(two.contributions), _given(two.attention)):
            assert_close(part[~longer], torch.zeros_like(part[~longer]))

    def test_a_tile_twice_is_a_tile_once(self) -> None:
        """Repeat every tile: the slide is the same slide."""
        if not self.duplicate_invariant:
            return
        head, (features, mask) = self.make(), self.bags()
        twice = head(features.repeat(1, 2, 1), mask.repeat(1, 2))
        assert_close(twice.logits, head(features, mask).logits)

    def test_a_batch_scores_as_its_members(self) -> None:
        """Score bags together and one by one."""
        head, (features, mask) = self.make(), self.bags()
        counts = [int(count) for count in mask.sum(dim=1)]
        alone = [head(features[i : i + 1, :n], mask[i : i + 1, :n]) for i, n in enumerate(counts)]
        assert_close(head(features, mask).logits, torch.cat([output.logits for output in alone]))

    def test_one_tile_is_enough(self) -> None:
        """Score a bag of one tile; it has all the attention."""
        features, mask = self.bags(count=1, tiles=1)
        output = _explain(self.make(), features, mask)
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
        """Send a gradient back: each parameter gets one, and padding gets none.

        Raises:
            AssertionError: A parameter has no gradient.
        """
        head, (features, mask) = self.make(), self.bags()
        features.requires_grad_()
        head(features, mask).logits.square().sum().backward()
        for name, value in head.named_parameters():
            if value.grad is None or not bool(torch.isfinite(value.grad).all()) or not bool(value.grad.any()):
                raise AssertionError(f"{name} gets no gradient")
        reached = _given(features.grad)[~mask]
        assert_close(reached, torch.zeros_like(reached))

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
        """Add up the contributions and the bias; add up the attention."""
        head, (features, mask) = self.make(), self.bags()
        output = _explain(head, features, mask)
        assert_close(_given(output.contributions).sum(dim=1) + head.bias, output.logits)
        assert_close(_given(output.attention).sum(dim=1), torch.ones(len(mask)))

    def test_mixed_precision_is_close(self) -> None:
        """Score in bfloat16: the logits move by no more than its precision explains."""
        head, (features, mask) = self.make(), self.bags()
        exact = head(features, mask).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = head(features, mask).logits
        assert_close(rough.float(), exact, rtol=0.05, atol=0.05)


def _explain(head: Head, features: Tensor, mask: Tensor) -> HeadOutput:
    with torch.no_grad():
        output: HeadOutput = head(features, mask, explain=True)
    return output


def _given(part: Tensor | None) -> Tensor:
    if part is None:
        raise AssertionError("the head did not explain itself when asked")
    return part
