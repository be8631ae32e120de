"""The slide that a command is about, as the options say."""

from __future__ import annotations

import argparse
from dataclasses import replace

from slides import Address
from slides.jail.spec import Jail


def slide_address(arguments: argparse.Namespace) -> Address:
    """Where a slide is and how it is to be read.

    Args:
        arguments: `slide`, `mpp0`, `exact`, `icc`, `untrusted`.

    Returns:
        The address.
    """
    address = Address.of(arguments.slide, arguments.mpp0)
    return replace(
        address,
        decode="exact" if arguments.exact else "fast",
        icc=arguments.icc,
        jail=Jail() if arguments.untrusted else None,
    )
