"""Locked dependencies and the checks of what the repository contains and installs. No service imports this."""
