"""Features in the layouts that other tools read and write.

Files are the interface, for no two of the tools can share an environment.

=============  =================================  =====================================================================
layout         of                                 files
=============  =================================  =====================================================================
`trident`      TRIDENT a91fa84                    `<name>.h5`, `patches/<name>_patches.h5`
`clam`         CLAM 53e2409                       `h5_files/<name>.h5`, `pt_files/<name>.pt`, `patches/<name>.h5`
`stamp`        STAMP 2.5.0 c54ce06                `<name>.h5`; places in micrometres
`anndata`      anndata 0.12                       `<name>.h5ad`
`spatialdata`  spatialdata 0.7, wsidata 0.11      `<name>.zarr`; written only
=============  =================================  =====================================================================

What is read is data of others: `foundation.interchange.guarded` says what is refused.
"""

from __future__ import annotations

from foundation.interchange.layouts import READERS, WRITERS, export_features, import_features
from foundation.interchange.stored import ImportOptions

__all__ = ["READERS", "WRITERS", "ImportOptions", "export_features", "import_features"]
