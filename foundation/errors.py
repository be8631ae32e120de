"""Errors of the foundation layer.

::

    FoundationError
    ├── RegistryError            a table of encoders or of words that is not well formed
    ├── UnknownEncoderError      no encoder of that name; the message gives the nearest names
    ├── UnsupportedEncoderError  known by name, but needs a package that is not here, or the code of strangers
    ├── LicenceError             the policy of this installation does not allow the encoder's licence
    ├── MissingWeightsError      no weights, and they are never made up
    ├── WeightsMismatchError     another checksum, another architecture, or no plain checkpoint
    ├── ContractError            tiles, embeddings and encoder do not belong together
    ├── DeviceError              no such device here, it went away while it worked, or it is too small
    │   └── DeviceFullError          a batch does not fit into its memory; a smaller one may, so it is divided
    ├── RunStoppedError          the run was given up before this slide was done
    ├── BadFeaturesError         features that are not finite, all alike or zero
    ├── EmbeddingsError          no whole embeddings store stands there
    ├── IndexStoreError          no whole search index stands there, or a block of it is damaged
    ├── QueryError               a search that cannot be made: what is asked for is not in the index
    ├── InterchangeError         a file in another tool's layout that cannot be read or written
    └── PromptError              a prompt that cannot be asked
        └── UnknownTermError     outside the closed vocabulary; the message gives the nearest terms
"""

from __future__ import annotations


class FoundationError(Exception):
    """Base of every error of the foundation layer."""


class RegistryError(FoundationError):
    """A table of encoders or of words is not well formed."""


class UnknownEncoderError(FoundationError):
    """There is no encoder of that name."""


class UnsupportedEncoderError(FoundationError):
    """The encoder is known by name and cannot be run here."""


class LicenceError(FoundationError):
    """The licence of an encoder does not allow what this installation is for."""


class MissingWeightsError(FoundationError):
    """The weights are not on this machine."""


class WeightsMismatchError(FoundationError):
    """The weights are not the ones the encoder needs."""


class ContractError(FoundationError):
    """Tiles, embeddings and encoder do not belong together."""


class DeviceError(FoundationError):
    """The device that encodes is not there, went away while it worked, or is too small."""


class DeviceFullError(DeviceError):
    """A batch does not fit into the memory of the device."""


class RunStoppedError(FoundationError):
    """The run was given up before this slide was done."""


class BadFeaturesError(FoundationError):
    """The encoder gave features that cannot be used."""


class EmbeddingsError(FoundationError):
    """No whole embeddings store stands there."""


class IndexStoreError(FoundationError):
    """No whole search index stands there."""


class QueryError(FoundationError):
    """A search cannot be made."""


class InterchangeError(FoundationError):
    """A file in the layout of another tool cannot be read or written."""


class PromptError(FoundationError):
    """A prompt cannot be asked."""


class UnknownTermError(PromptError):
    """A prompt lies outside the closed vocabulary."""
