"""`sparse view`: events to see, hear and edit in the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sparsecli.web.settings import LOOPBACK, ViewSettings

from . import options
from .console import Console
from .options import usage_errors
from .outputs import check_extensions, check_outputs, check_writable
from .runner import explain

if TYPE_CHECKING:
    from sparsecli.core.audio import Audio
    from sparsecli.core.events import Events

Source = Annotated[str, typer.Argument(metavar="EVENTS", help="Events file; - is standard input.")]
Original = Annotated[
    str | None, typer.Option("--audio", metavar="ORIGINAL", help="The recording, to compare with and to look at.")
]
Host = Annotated[
    str, typer.Option("--host", metavar="HOST", help="Serve to others too, who need the token that is printed.")
]
Html = Annotated[str | None, typer.Option("--html", metavar="FILE", help="Write the page as one file, and end.")]
NoOpen = Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")]


def view_command(
    context: typer.Context,
    source: Source,
    original: Original = None,
    port: options.Port = None,
    host: Host = LOOPBACK,
    html: Html = None,
    no_open: NoOpen = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """See, hear and edit events in the browser.

    Serves the page on this machine until Ctrl-C, or writes it with --html as a file that works offline.
    """
    console = Console(quiet)
    with usage_errors(console):
        settings = options.settings_from(context, ViewSettings, "view", None, None)
        if html is not None:
            check_outputs([source, *filter(None, [original])], [html])
            check_extensions([html], [".html", ".htm"])
        else:
            from sparsecli.web.serving import check_installed

            check_installed("sparse view")
    try:
        if html is not None:
            check_writable(html, overwrite)
        events, audio = _load(source, original, console)
        if html is not None:
            _write(html, events, audio, overwrite)
            console.say(source, f"{html}: {len(events)} events")
        else:
            _serve(source, events, audio, settings.port, host, not no_open, console)
    except Exception as error:
        if isinstance(error, BrokenPipeError):
            raise
        console.fail(explain(error, source))
        raise typer.Exit(1) from None


def _load(source: str, original: str | None, console: Console) -> tuple[Events, Audio | None]:
    from sparsecli.io.audio import read_audio
    from sparsecli.io.events_file import load_events
    from sparsecli.web.scene import check_playable

    events = load_events(source)
    check_playable(events, source)
    audio = None if original is None else read_audio(original)
    if audio is not None and original is not None:
        apart_s = abs(audio.duration_s - events.header.duration_s)
        if apart_s > 0.01:  # more than a rounded --duration
            told = f"is {audio.duration_s:.2f} s long, and the events' recording {events.header.duration_s:.2f} s"
            console.say(original, told)
    return events, audio


def _write(path: str, events: Events, audio: Audio | None, overwrite: bool) -> None:
    from sparsecli.io.atomic import open_output
    from sparsecli.web.document import whole_document
    from sparsecli.web.scene import pack_audio, pack_scene

    packed = None if audio is None else pack_audio(audio, events.header.channels)
    text = whole_document(pack_scene(events), packed)
    with open_output(path, overwrite=overwrite) as out:
        out.write(text.encode())


def _serve(
    source: str, events: Events, audio: Audio | None, port: int, host: str, opens: bool, console: Console
) -> None:
    from sparsecli.web import serving
    from sparsecli.web.server import make_app, scene_routes

    listening = serving.listen(port, host)
    own = serving.port_of(listening)
    if own != port:
        console.say(f"--port {port}", f"is taken: the page is at {own}")
    token = serving.token_for(host)
    if token is not None:
        console.say(f"--host {host}", "others can reach the page, if they have its address with the token")
    config = {"mode": "view", "audio": audio is not None}
    app = make_app(config, scene_routes(events, audio), serving.hosts_of(host, own), token)
    where = serving.address(host, own, token)
    console.say(source, f"{where} (Ctrl-C ends)")
    if opens:
        open_browser(where)
    serving.serve(app, listening)


def open_browser(address: str) -> None:
    """Open a page in the person's browser, if there is one with windows; a text browser would take the terminal."""
    import os
    import sys
    import webbrowser

    if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(address)
