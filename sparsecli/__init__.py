"""Turn a recording into a small table of events that can be read, edited and played again.

    import sparsecli
    result = sparsecli.fit(samples, 44100, atoms=32)
    audio = sparsecli.render(result.events, pitch_shift_semitones=2)

The functions are those of `sparsecli.api`, imported when first asked for: `import sparsecli` brings neither torch nor
numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import (
        Audio,
        Comparison,
        DecomposeSettings,
        Events,
        FitSettings,
        Header,
        Quality,
        RenderSettings,
        SparseError,
        compare,
        decompose,
        edit,
        fit,
        load,
        read_audio,
        render,
        save,
        select,
        write_audio,
    )

__version__ = "0.1.0"

__all__ = [
    "Audio", "Comparison", "DecomposeSettings", "Events", "FitSettings", "Header", "Quality", "RenderSettings",
    "SparseError", "__version__", "compare", "decompose", "edit", "fit", "load", "read_audio", "render", "save",
    "select", "write_audio",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
