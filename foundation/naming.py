"""Tensors by the names of those who published them, renamed to those of the library that runs them.

Architectures are few and names are many: a vision transformer of Meta's DINOv2, or of Hugging Face's transformers, is
timm's but for what its tensors are called, so neither library need be installed. Whatever is not renamed here keeps its
name, and `load_exactly` refuses what then finds no place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from foundation.errors import RegistryError, WeightsMismatchError

State = dict[str, Tensor]
LORA_ALPHA = 16
"""Of CRISP, the one network here that is published so: changes are divided by their rank and multiplied by this."""
_PART = re.compile(r"(.*)#(\d)")
"""A tensor that is one of several to be joined: the name of the whole, and its place."""


@dataclass(frozen=True)
class Convention:
    """How names of one origin differ from ours."""

    renames: tuple[tuple[str, str], ...]
    """Regular expressions and what takes the place of their matches, one after the other."""
    unused: str = r"(?!)"
    """A regular expression for the beginning of names that inference has no use for."""
    finish: Callable[[State], State] = dict
    """What is left to do when the names are right."""


def renamed(state: Mapping[str, Tensor], names: str) -> State:
    """Give tensors our names.

    Args:
        state: Tensors by the names of their publisher.
        names: A key of `CONVENTIONS`; empty where the names are ours already.

    Returns:
        Tensors by our names.

    Raises:
        RegistryError: If nobody has described such names.
        WeightsMismatchError: If two tensors would have the same name.
    """
    if not names:
        return dict(state)
    if names not in CONVENTIONS:
        raise RegistryError(f"There is no convention of names {names[:40]!r}; known are {', '.join(CONVENTIONS)}.")
    convention = CONVENTIONS[names]
    found: State = {}
    for old, tensor in state.items():
        new = old
        for pattern, by in convention.renames:
            new = re.sub(pattern, by, new)
        if new in found:
            raise WeightsMismatchError(
                "Two tensors of the weights file would have the same name: it is another network's."
            )
        if not re.match(convention.unused, old):
            found[new] = tensor
    return convention.finish(_joined(found))


def _joined(state: State) -> State:
    # Queries, keys and values of attention, which some keep apart, one above the other.
    parts = {name: match for name in state if (match := _PART.fullmatch(name))}
    whole = {name: tensor for name, tensor in state.items() if name not in parts}
    for base in dict.fromkeys(match[1] for match in parts.values()):
        pieces = [state.get(f"{base}#{place}") for place in range(3)]
        present = [piece for piece in pieces if piece is not None]
        if len(present) != len(pieces) or len({piece.shape for piece in present}) != 1:
            raise WeightsMismatchError("The weights file lacks parts of its attention layers: it is another network's.")
        whole[base] = torch.cat(present)
    return whole


def _registers(state: State) -> State:
    """Registers have no place in the image: timm then keeps the position of the class token within that token."""
    if "reg_token" not in state or not {"cls_token", "pos_embed"} <= state.keys():
        return state
    position = state["pos_embed"]
    return state | {"cls_token": state["cls_token"] + position[:, :1], "pos_embed": position[:, 1:]}


def _later_merging(state: State) -> State:
    """Older versions of timm merged patches at the end of a stage of Swin, newer ones at the start of the next."""
    if not any(name.startswith("layers.0.downsample.") for name in state):
        return state
    pattern = re.compile(r"layers\.(\d)\.downsample\.")
    return {pattern.sub(lambda found: f"layers.{int(found[1]) + 1}.downsample.", n): t for n, t in state.items()}


def _merged(state: State) -> State:
    """Low-rank changes (Hu et al., arXiv:2106.09685) as the library peft keeps them, added to what they change."""
    found = dict(state)
    for name in state:
        layer, marker, _ = name.partition(".lora_A.")
        other, weight = f"{layer}.lora_B.default.weight", f"{layer}.weight"
        if marker and other in found and weight in found:
            down, up = found.pop(name), found.pop(other)
            found[weight] = found[weight] + LORA_ALPHA / len(down) * (up @ down)
    return found


def _clip_projections(state: State) -> State:
    """A linear layer holds its matrix the other way round from a bare one."""
    turned = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
    return {turned.get(name, name): t.T.contiguous() if name in turned else t for name, t in state.items()}


_HF_TRANSFORMER = (
    (r"^embeddings\.(cls_token)$", r"\1"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.attention\.query\.(\w+)$", r".attn.qkv.\1#0"),
    (r"\.attention\.attention\.key\.(\w+)$", r".attn.qkv.\1#1"),
    (r"\.attention\.attention\.value\.(\w+)$", r".attn.qkv.\1#2"),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"^layernorm\.", "norm."),
)
_HF_UNUSED = r"embeddings\.mask_token$|pooler\."

CONVENTIONS = {
    "dinov2": Convention(
        (
            (r"^register_tokens$", "reg_token"),
            (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),  # chunks of blocks, numbered through
            (r"\.mlp\.w12\.", ".mlp.fc1."),
            (r"\.mlp\.w3\.", ".mlp.fc2."),
        ),
        r"mask_token$",
        _registers,
    ),
    "hf-dinov2": Convention(
        (
            *_HF_TRANSFORMER,
            (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
            (r"\.mlp\.weights_in\.", ".mlp.fc1."),
            (r"\.mlp\.weights_out\.", ".mlp.fc2."),
        ),
        _HF_UNUSED,
        _registers,
    ),
    "hf-vit": Convention(
        (
            *_HF_TRANSFORMER,
            (r"\.layernorm_before\.", ".norm1."),
            (r"\.layernorm_after\.", ".norm2."),
            (r"\.intermediate\.dense\.", ".mlp.fc1."),
            (r"(^blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
        ),
        _HF_UNUSED,
    ),
    "hf-clip": Convention(
        (
            (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
            (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
            (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
            (r"^text_model\.final_layer_norm\.", "ln_final."),
            (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
            (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
            (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
            (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),  # the misspelling is in the checkpoints
            (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
            (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
            (r"\.self_attn\.q_proj\.(\w+)$", r".attn.in_proj_\1#0"),
            (r"\.self_attn\.k_proj\.(\w+)$", r".attn.in_proj_\1#1"),
            (r"\.self_attn\.v_proj\.(\w+)$", r".attn.in_proj_\1#2"),
            (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
            (r"\.layer_norm(\d)\.", r".ln_\1."),
            (r"\.mlp\.fc1\.", ".mlp.c_fc."),
            (r"\.mlp\.fc2\.", ".mlp.c_proj."),
        ),
        r"(text|vision)_model\.embeddings\.position_ids$",
        _clip_projections,
    ),
    "keep": Convention(
        ((r"^(visual\.blocks\.\d+\.ls\d)\.weight$", r"\1.gamma"),),
        r"text\.embeddings\.position_ids$",
    ),
    "lora": Convention(((r"^base_model\.model\.", ""), (r"\.base_layer\.", ".")), finish=_merged),
    "biomedclip": Convention((), r"text\.transformer\.(embeddings\.position_ids$|pooler\.)"),
    "swin": Convention((), r".*\.(attn_mask|relative_position_index)$", _later_merging),
}
"""What publishers call their tensors: Meta's DINOv2; transformers' Dinov2Model, ViTModel and CLIPModel; two pairs with
BERT; peft's changes of a network, beside it; timm's Swin, old or new, whose buffers follow from its shape."""
