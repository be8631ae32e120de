"""Foundation: encoders by name, embeddings of slides, a tissue head, prompts against tiles, and search over cohorts.

No torch is loaded before an encoder is: loaders are imported on first use. The verbs `embed`, `ask` and `search` live
in modules of other names, for a submodule `foundation.embed` would hide the verb as soon as anything imported it.
"""

from __future__ import annotations

from foundation.answer import Answer, PromptAnswer
from foundation.asking import ask
from foundation.bank import Bank, make_bank, read_bank, write_bank
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
from foundation.examples import Examples
from foundation.index import SearchIndex, search
from foundation.one_pass import embed_in_one_pass
from foundation.prompt_set import PromptSet, read_prompt_set
from foundation.question import Question
from foundation.registry import list_encoders, load_encoder
from foundation.slide_score import TopTile
from foundation.spec import EncoderSpec
from foundation.tissue import TISSUES, TissueHead

__all__ = [
    "TISSUES",
    "Answer",
    "BadFeaturesError",
    "Bank",
    "ContractError",
    "DeviceError",
    "EmbedOptions",
    "EmbedRun",
    "Embeddings",
    "EmbeddingsError",
    "Encoder",
    "EncoderSpec",
    "Examples",
    "FoundationError",
    "IndexStoreError",
    "LicenceError",
    "MissingWeightsError",
    "PromptAnswer",
    "PromptError",
    "PromptSet",
    "QueryError",
    "Question",
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
    "make_bank",
    "read_bank",
    "read_prompt_set",
    "search",
    "write_bank",
]
