"""PyTorch, which the worker needs: is it there, and its installation through the PyTorch extension."""

from __future__ import annotations

import importlib
import importlib.util

from slicer.i18n import tr as _

from ..core.errors import DeepRegistrationError


def torch_is_installed() -> bool:
    """Whether the worker will find PyTorch; does not import it."""
    importlib.invalidate_caches()
    return importlib.util.find_spec("torch") is not None


def offer_torch() -> str:
    """`install_torch` with its outcome in words for the user; "" where PyTorch is there now."""
    try:
        return "" if install_torch() else _("PyTorch was not installed.")
    except DeepRegistrationError as error:
        return str(error)


def install_torch() -> bool:
    """Ask the user, then install PyTorch through the PyTorch extension; False where the user declined.

    Raises DeepRegistrationError where that extension is not installed.
    """
    try:
        import PyTorchUtils
    except ModuleNotFoundError:
        raise DeepRegistrationError(
            _(
                "The PyTorch extension is not installed; install it in the Extensions Manager, "
                "restart Slicer and try again."
            )
        ) from None
    # It asks, chooses the build that fits the graphics card, and imports torch into the application once.
    return PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True) is not None
