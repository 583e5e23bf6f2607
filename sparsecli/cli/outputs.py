"""Where results go: names of outputs from names of inputs, and what must not be written over."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sparsecli.core.errors import SparseError
from sparsecli.io.atomic import STANDARD, is_stream


def plan_outputs(inputs: Sequence[str], given: str | None, extension: str) -> list[str]:
    """One output for each input.

    Args:
        inputs: as the user wrote them; `-` is standard input.
        given: what `-o` names: a file, `-`, or a folder, which it must be for several inputs. None: the current
            folder under the input's name, and standard output for standard input.
        extension: of names made from inputs, with its dot.

    Raises:
        SparseError: several inputs and `given` is no folder.

    >>> plan_outputs(["music/song.wav", "-"], None, ".npz")
    ['song.npz', '-']
    >>> plan_outputs(["a.wav", "b.wav"], "out", ".npz")
    ['out/a.npz', 'out/b.npz']
    """
    if given is None:
        return [name if name == STANDARD else _derived(name, extension) for name in inputs]
    if not is_folder(inputs, given):
        return [given]
    if given == STANDARD or (os.path.exists(given) and not os.path.isdir(given)):
        raise SparseError(given, f"cannot take the results of {len(inputs)} inputs", "name a folder")
    return [os.path.join(given, _derived(name, extension)) for name in inputs]


def is_folder(inputs: Sequence[str], given: str | None) -> bool:
    """Whether `-o given` means a folder: several inputs, a folder that exists, or a slash at the end."""
    return given is not None and (len(inputs) > 1 or given.endswith(os.sep) or os.path.isdir(given))


def check_outputs(inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Every output is a place of its own and no input.

    Args:
        inputs: all of them.
        outputs: all of them, in the order of the inputs; may go round more than once where a run writes several kinds.

    Raises:
        SparseError: two results would be written to one place, or a result over an input.
    """
    if list(inputs).count(STANDARD) > 1:
        raise SparseError(STANDARD, "standard input can be read only once", "name it once")
    is_input = {os.path.realpath(name) for name in inputs if name != STANDARD}
    writers: dict[str, str] = {}
    for index, output in enumerate(outputs):
        name = inputs[index % len(inputs)]
        place = STANDARD if output == STANDARD else os.path.realpath(output)
        if place in is_input and not is_stream(output):
            raise SparseError(output, "is an input, and would be written over", "name another place with -o")
        if place in writers and (place == STANDARD or not is_stream(output)):
            raise SparseError(output, f"would be written twice, for {writers[place]} and {name}", "run them apart")
        writers[place] = name


def check_extensions(outputs: Sequence[str], extensions: Sequence[str], file_format: str | None = None) -> None:
    """Raise SparseError where neither the name of an output nor `--format` says how to write it."""
    for output in outputs:
        if not (file_format or is_stream(output) or output.lower().endswith(tuple(extensions))):
            raise SparseError(output, "has no extension known here", f"end it with one of {' '.join(extensions)}")


def make_folder(inputs: Sequence[str], given: str | None) -> None:
    """Create the folder that `-o given` names, if it names one. Raises SparseError where that cannot be."""
    if given is None or not is_folder(inputs, given):
        return
    try:
        os.makedirs(given, exist_ok=True)
    except OSError as error:
        raise SparseError(given, f"cannot be created ({error.strerror})", "name another folder") from None


def check_writable(output: str, overwrite: bool) -> None:
    """Fail before the work, rather than after it, where the result could not be written.

    Raises:
        SparseError: the file exists and `overwrite` is not set, or its folder does not exist.
    """
    if is_stream(output):
        return
    if os.path.lexists(output) and not overwrite:
        raise SparseError(output, "exists already", "use --overwrite")
    if not os.path.isdir(os.path.dirname(os.path.realpath(output))):
        raise SparseError(output, "its folder does not exist", "create the folder first")


def _derived(name: str, extension: str) -> str:
    """The name of a result in a folder of results.

    >>> _derived("music/song.wav", ".npz"), _derived("-", ".npz")
    ('song.npz', 'stdin.npz')
    """
    stem = "stdin" if name == STANDARD else os.path.splitext(os.path.basename(os.path.normpath(name)))[0]
    return stem + extension
