"""What PyInstaller must know: the package has a clip beside its code."""

from pathlib import Path


def hook_dirs() -> list[str]:
    """Return where the hooks are; PyInstaller asks for it by the entry point `pyinstaller40`."""
    return [str(Path(__file__).parent)]
