"""Foundation: encoders by name, embeddings of slides, a tissue head, prompts against tiles, and search over cohorts.

No torch is loaded before an encoder is: loaders are imported on first use. The verbs `embed`, `ask` and `search` live
in modules of other names, for a submodule `foundation.embed` would hide the verb as soon as anything imported it.
"""

from __future__ import annotations

from foundation.answer import Answer, PromptAnswer, TopTile, ask
from foundation.contract import EmbedOptions
from foundation.embed_stage import embed
from foundation.embeddings import Embeddings
from foundation.encoder import Encoder, TextEncoder
from foundation.engine.item import SlideOutcome, SlideSource
from foundation.engine.report import RunReport
from foundation.engine.run import EmbedRun
from foundation.errors import (
    BadFeaturesError,
    ContractError,
    DeviceError,
    EmbeddingsError,
    FoundationError,
    IndexStoreError,
    LicenceError,
    MissingWeightsError,
    PromptError,
    QueryError,
    RegistryError,
    UnknownEncoderError,
    UnknownTermError,
    UnsupportedEncoderError,
    WeightsMismatchError,
)
from foundation.index import SearchIndex, search
from foundation.one_pass import embed_in_one_pass
from foundation.registry import list_encoders, load_encoder
from foundation.spec import EncoderSpec
from foundation.tissue import TISSUES, TissueHead

__all__ = [
    "TISSUES",
    "Answer",
    "BadFeaturesError",
    "ContractError",
    "DeviceError",
    "EmbedOptions",
    "EmbedRun",
    "Embeddings",
    "EmbeddingsError",
    "Encoder",
    "EncoderSpec",
    "FoundationError",
    "IndexStoreError",
    "LicenceError",
    "MissingWeightsError",
    "PromptAnswer",
    "PromptError",
    "QueryError",
    "RegistryError",
    "RunReport",
    "SearchIndex",
    "SlideOutcome",
    "SlideSource",
    "TextEncoder",
    "TissueHead",
    "TopTile",
    "UnknownEncoderError",
    "UnknownTermError",
    "UnsupportedEncoderError",
    "WeightsMismatchError",
    "ask",
    "embed",
    "embed_in_one_pass",
    "list_encoders",
    "load_encoder",
    "search",
]
