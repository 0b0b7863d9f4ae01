"""The errors a user can meet. Each message is one sentence: what was received and what to do about it."""

from __future__ import annotations


class DeepRegistrationError(Exception):
    """Base of every error this library raises on purpose; `str(error)` is fit to be shown to a user."""


class InputError(DeepRegistrationError):
    """The caller handed over something that cannot be registered: a file, an image, a parameter."""


class OutputError(DeepRegistrationError):
    """A result could not be written; nothing half-written is left behind."""


class Cancelled(DeepRegistrationError):
    """The user asked to stop."""

    def __init__(self, message: str = "The registration was cancelled.") -> None:
        super().__init__(message)


class DeviceMemoryError(DeepRegistrationError):
    """The device has not enough memory for the problem at the asked resolution."""
