"""Why a head scores a slide as it does: one value a tile, by several methods, each judged by removing tiles."""
