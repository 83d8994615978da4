"""What stops the start of a process that is to be traced: the packages for it are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from typing import Protocol

PACKAGES = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")


class Checked(Protocol):
    """The settings that are checked."""

    @property
    def traces_are_on(self) -> bool: ...


def problems(settings: Checked) -> Iterator[str]:
    """Yield a sentence if packages are missing."""
    if settings.traces_are_on and not all(map(_is_installed, PACKAGES)):
        yield (
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the packages for traces are not installed:"
            " pip install -r locked/traces.txt, or set OTEL_SDK_DISABLED=true"
        )


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
