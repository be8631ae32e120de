"""What this installation allows of encoders, from settings and command line, told to the layer that loads them."""

from __future__ import annotations

from dataclasses import replace

from api.settings import Settings
from foundation.access import Access, Policy, configure


def allow(settings: Settings, *, online: bool = False, policy: Policy | None = None) -> Access:
    """Tell this process where weights may come from and what encoders may be used for.

    Args:
        settings: Of the installation.
        online: Allow the hub even where the settings do not.
        policy: What the settings' policy gives way to; None keeps it.

    Returns:
        What is allowed from now on.
    """
    folder = settings.weights and settings.weights.absolute()  # workers stand in folders of their own
    access = Access(folder=folder, online=settings.online or online, policy=settings.policy)
    access = access if policy is None else replace(access, policy=policy)
    configure(access)
    return access
