"""The page in a real browser: seen, heard and edited as a person would."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsecli.core.audio import Audio
from sparsecli.core.columns import SILENT_DB, columns_of
from sparsecli.core.events import Events, Header, events_from_columns
from sparsecli.dsp.quality import snr_db
from sparsecli.engine.rendering import render
from sparsecli.engine.settings import RenderSettings
from sparsecli.io.audio import read_audio
from sparsecli.io.events_file import load_events
from sparsecli.web.document import whole_document
from sparsecli.web.scene import pack_audio, pack_scene

ALIKE_DB = 60.0  # what the page's sound and that of `sparse render` have to agree to; here some 130
FOURTH = 5  # semitones


def tones(**header: Any) -> Events:
    """Three tones well apart, the last two of one note, and a burst of noise."""
    made = Header(**{"duration_s": 2.0, "sample_rate": 44100, "source_name": "song.flac", **header})
    columns: dict[str, Any] = {column.name: np.zeros(4) for column in columns_of("atoms", made.channels)}
    columns |= {name: np.full(4, SILENT_DB) for name in columns if "level" in name}
    columns |= {
        "onset_s": np.array([0.2, 0.8, 0.8, 1.4]),
        "attack_s": np.full(4, 0.004),
        "decay_s": np.array([0.5, 0.4, 0.4, 0.1]),
        "freq1_hz": np.array([440.0, 1000.0, 3000.0, 0.0]),
        "level1_db": np.array([-12.0, -14.0, -20.0, SILENT_DB]),
        "noise_level_db": np.array([SILENT_DB, SILENT_DB, SILENT_DB, -30.0]),
        "freq4_hz": np.array([0.0, 0.0, 0.0, 5000.0]),
    }
    events = events_from_columns(made, columns, np.full((made.channels, 2, 24), -90.0))
    return replace(events, note=np.array([0, 1, 1, -1], np.int32))


def sound_of(page: Any, expression: str = "sparse.sound.channels") -> np.ndarray:
    """Channels that the page holds, float32 `[channels, samples]`."""
    return np.array(page.evaluate(f"{expression}.map((channel) => Array.from(channel))"), np.float32)


def place_of(page: Any, row: int) -> tuple[float, float]:
    """Where on the screen an event's beginning is, a little after it."""
    found = page.evaluate(
        """(row) => {
            const { stage, session } = sparse;
            const shape = stage.picture.drawn.find(({ e }) => e === row);
            const box = stage.canvas.getBoundingClientRect();
            return [box.left + box.width - stage.view.width + shape.x + 4, box.top + shape.y];
        }""",
        row,
    )
    return found[0], found[1]


@pytest.fixture
def settle(until: Callable[..., None], frames: Callable[[Any], None]) -> Callable[[Any], None]:
    """Waits until the worker has mixed all that was asked of it, and a frame is drawn."""

    def wait(page: Any) -> None:
        until(page, "sparse.sound.waiting.size === 0")
        frames(page)

    return wait


def download(page: Any, kind: str, folder: Path) -> Path:
    page.click("#export-button")
    with page.expect_download() as found:
        page.click(f'[data-export="{kind}"]')
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


def test_what_is_heard_is_what_sparse_renders(view, tmp_path: Path, settle, until):
    """Load, look, click, hear, move a note up a fourth, mute another, export, render in the shell: the same sound."""
    events = tones()
    opened = view(events, Audio(render(events).samples, 44100))
    page = opened.page
    assert page.inner_text("#title") == "song.flac" and "4 events" in page.inner_text("#counts")
    assert snr_db(render(events).samples, sound_of(page)) > ALIKE_DB

    # A click selects and plays the event, alone.
    page.mouse.click(*place_of(page, 0))
    until(page, "sparse.player.lastHeard")
    heard = sound_of(page, "sparse.player.lastHeard")
    first = math.ceil(0.2 * 44100)
    alone = render(replace(events.take(np.array([0])), air=np.zeros((1, 0, 24), np.float32))).samples
    assert snr_db(alone[:, first : first + heard.shape[1]], heard) > ALIKE_DB
    assert page.evaluate("[...sparse.session.selection]") == [0]
    settle(page)
    assert page.inner_text("#event-title").startswith("A4")

    # Dragged up, with semitones on, it lands a fourth higher, and at its time.
    page.check("#snap-pitch")
    x, y = place_of(page, 0)
    up = FOURTH / 12 / page.evaluate("sparse.stage.view.octavesPerPixel")
    page.mouse.move(x, y)
    page.mouse.down()
    page.keyboard.down("Shift")
    page.mouse.move(x, y - up / 2)
    page.mouse.move(x, y - up)
    page.mouse.up()
    page.keyboard.up("Shift")
    settle(page)
    row = page.evaluate("Array.from(sparse.session.table.row(0))")
    assert row[0] == 0.2 and row[3] == pytest.approx(440 * 2 ** (FOURTH / 12), rel=1e-6)

    # A click on one event of a note takes the whole note; M mutes it.
    page.mouse.click(*place_of(page, 1))
    assert page.evaluate("[...sparse.session.selection].sort()") == [1, 2]
    page.keyboard.press("m")
    settle(page)
    edited = sound_of(page)

    # What is exported has what was moved, and not what was muted.
    for kind in ("npz", "json"):
        back = load_events(download(page, kind, tmp_path))
        assert back.id.tolist() == [0, 3] and back.header.quality == {}
        assert back.column("freq1_hz")[0] == np.float32(row[3])
        np.testing.assert_array_equal(back.noise_seed, events.noise_seed[[0, 3]])
        assert snr_db(render(back).samples, edited) > ALIKE_DB
    wav = read_audio(download(page, "wav", tmp_path))
    np.testing.assert_allclose(wav.samples, render(back).samples, atol=0.6 / 32768)  # rounded to 16 bits
    score = download(page, "mid", tmp_path).read_bytes()
    assert score.startswith(b"MThd")

    # Undone, it is what it was; done again, it is what it became.
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    settle(page)
    assert snr_db(render(events).samples, sound_of(page)) > ALIKE_DB
    page.keyboard.press("Control+Shift+Z")
    page.keyboard.press("Control+y")
    settle(page)
    assert snr_db(edited, sound_of(page)) > ALIKE_DB

    assert opened.complaints == []
    assert all(address.startswith((opened.address, "blob:", "data:")) for address in opened.requests)


def test_two_channels_and_places(view, settle):
    events = tones(channels=2)
    params = events.params.copy()
    params[:, events.columns.index("pan") - 1] = [-1, -0.25, 0.5, 1]
    events = replace(events, params=params)
    page = view(events).page
    assert snr_db(render(events).samples, sound_of(page)) > ALIKE_DB
    page.evaluate("sparse.session.select([2]); sparse.longer(2)")
    settle(page)
    params[2, events.columns.index("decay_s") - 1] *= 2
    assert snr_db(render(replace(events, params=params)).samples, sound_of(page)) > ALIKE_DB


def test_keys_panels_and_chance(view, until, frames):
    opened = view(tones())
    page = opened.page
    numbers = "(row) => Array.from(sparse.session.table.row(row))"
    page.focus("#stage")
    page.keyboard.press(".")
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Alt+ArrowDown")
    page.keyboard.press("ArrowRight")
    row = page.evaluate(numbers, 0)
    assert row[3] == pytest.approx(440 * 2 ** (1 - 0.05 / 12), rel=1e-6) and row[0] == pytest.approx(0.21)
    page.keyboard.press("d")
    assert page.evaluate("sparse.session.aliveRows().length") == 5
    page.keyboard.press("Delete")
    page.keyboard.press("Control+a")
    page.keyboard.press("s")
    page.keyboard.press("Escape")
    for _ in range(6):
        page.keyboard.press("Control+z")
    assert page.evaluate("sparse.session.edited") is False
    np.testing.assert_array_equal(page.evaluate(numbers, 0), [0.2, *tones().params[0].tolist()])

    # Expressions go through the server; what is wrong with one is said.
    page.keyboard.press("/")
    page.fill("#expression", "freq > 2 kHz")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('find-told').textContent.startsWith('2 of 4')")
    assert page.evaluate("[...sparse.session.selection].sort()") == [1, 2, 3]  # the whole note, and the noise
    page.fill("#expression", "freq >")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('find-told').textContent.startsWith('column 7: ')")

    # A number typed in; what no event can have is held at the end of the range.
    page.click('[data-tab="event"]')
    page.evaluate("sparse.session.select([0])")
    frames(page)
    page.fill('[data-column="2"]', "1e9")
    page.evaluate("sparse.louder(1)")  # something else changes meanwhile: what is typed stays, the rest follows
    frames(page)
    assert page.input_value('[data-column="4"]') == "-11.00"
    page.press('[data-column="2"]', "Enter")
    assert page.evaluate(numbers, 0)[2] == 600
    frames(page)
    assert page.input_value('[data-column="2"]') == "600.0000"
    page.evaluate("sparse.undo(); sparse.undo()")

    # Notes keep together at random times; traded sounds are the same sounds; one perturbation is alike for all.
    page.evaluate("sparse.session.select([])")
    page.click('[data-tab="chance"]')
    page.click("#random-times")
    onsets = page.evaluate("[0, 1, 2, 3].map((e) => sparse.session.table.get(e, 0))")
    assert onsets[1] == onsets[2] and onsets[0] != 0.2 and all(0 <= onset <= 2 for onset in onsets)
    page.evaluate("sparse.undo()")
    page.click("#random-events")
    freqs = page.evaluate("[0, 1, 2, 3].map((e) => sparse.session.table.get(e, 3))")
    assert sorted(freqs) == [0, 440, 1000, 3000]
    page.evaluate("sparse.undo()")
    page.click("#perturb")
    freqs = page.evaluate("[0, 1, 2].map((e) => sparse.session.table.get(e, 3))")
    ratios = np.array(freqs) / [440, 1000, 3000]
    assert ratios == pytest.approx(ratios[0], rel=1e-6) and ratios[0] != 1

    # Maps and the matrix show all, and a click there selects.
    page.click('[data-tab="map"]')
    page.click('[data-map="tsne"]')
    until(page, "sparse.panels.map.rows.length === 4")
    page.click('[data-tab="matrix"]')
    box = page.locator("#matrix").bounding_box()
    page.mouse.click(box["x"] + 20, box["y"] + 72 + 5)
    assert page.evaluate("sparse.session.selection.size") == 1

    # Help names every key; light and dark differ.
    page.focus("#stage")
    page.keyboard.press("?")
    assert page.locator("#help-list kbd").count() > 30
    page.keyboard.press("Escape")
    before = page.evaluate("sparse.stage.theme.paper")
    page.click("#theme-button")
    assert page.evaluate("sparse.stage.theme.paper") != before
    assert [text for text in opened.complaints if "400" not in text] == []  # the expression that made no sense


def test_lasso_box_solo_and_zoom(view, settle, until):
    page = view(tones()).page
    page.uncheck("#whole-notes")
    box = page.locator("#stage").bounding_box()
    x, y = place_of(page, 1)
    page.mouse.move(x - 30, y - 30)
    page.mouse.down()
    page.mouse.move(x + 20, y + 30)
    page.mouse.up()
    assert page.evaluate("[...sparse.session.selection]") == [1]
    page.keyboard.press("g")
    page.keyboard.down("Shift")
    x, y = place_of(page, 2)
    page.mouse.move(x - 30, y - 30)
    page.mouse.down()
    for dx, dy in ((30, -30), (30, 30), (-30, 30)):
        page.mouse.move(x + dx, y + dy)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert page.evaluate("[...sparse.session.selection].sort()") == [1, 2]
    page.keyboard.press("s")
    settle(page)
    events = tones()
    assert snr_db(render(events.take(np.array([1, 2]))).samples, sound_of(page)) > ALIKE_DB  # and the air
    # Zoomed in as far as it goes, and panned: single samples, and the moment under the pointer stays.
    page.mouse.move(box["x"] + 600, box["y"] + 300)
    before = page.evaluate("sparse.stage.view.seconds(600 - 64)")
    for _ in range(40):
        page.mouse.wheel(0, -300)
    until(page, "sparse.stage.view.endS - sparse.stage.view.startS < 0.001")
    assert page.evaluate("sparse.stage.view.seconds(600 - 64)") == pytest.approx(before, abs=1e-6)
    page.keyboard.press("0")
    assert page.evaluate("sparse.stage.view.endS") == 2


def test_playing_looping_and_comparing(view, until):
    """The transport runs, hears edits as they are made, and switches to the original in step."""
    events = tones()
    recording = Audio(-render(events).samples, 44100)
    page = view(events, recording).page
    # Rounded to 16 bits, and decoded by a browser that divides by 32767.
    np.testing.assert_allclose(sound_of(page, "sparse.original"), recording.samples, atol=1.5 / 32768)
    page.keyboard.press(" ")
    until(page, "sparse.player.position() > 0.25")
    until(page, "sparse.player.meter().peak > -40")
    page.keyboard.press("x")
    assert page.evaluate("[sparse.player.source, sparse.stage.source]") == ["original", "original"]
    page.evaluate("sparse.setLoop([0.2, 0.4])")
    until(page, "sparse.player.marks.length > 1 || sparse.player.position() < 0.4")
    page.wait_for_timeout(300)
    assert 0.15 <= page.evaluate("sparse.player.position()") <= 0.42
    page.keyboard.press(" ")
    assert page.evaluate("sparse.player.playing") is False


def test_one_file_works_offline(visit, tmp_path: Path, until):
    events = tones()
    audio = Audio(render(events).samples, 44100)
    path = tmp_path / "page.html"
    path.write_text(whole_document(pack_scene(events), pack_audio(audio, 1)))
    opened = visit(path.as_uri())
    page = opened.page
    assert snr_db(render(events).samples, sound_of(page)) > ALIKE_DB
    assert page.evaluate("sparse.original.length") == 1
    page.mouse.click(*place_of(page, 0))
    until(page, "sparse.player.lastHeard")
    np.testing.assert_array_equal(load_events(download(page, "json", tmp_path)).params, events.params)
    page.click('[data-tab="find"]')
    assert "sparse view" in page.inner_text("#find-told")
    assert opened.complaints == []
    assert [address for address in opened.requests if not address.startswith(("file:", "blob:", "data:"))] == []


def test_hostile_names_run_no_script(view, visit, tmp_path: Path):
    """Names are shown as they are, in the page of the server and in the file."""
    name = "<img src=x onerror=\"document.title='run'\"></script><script>document.title='run'</script>"
    name = name.replace("/", "")  # no file name has one
    events = tones(source_name=name, settings={"</script><b>": "<!--"})
    path = tmp_path / "page.html"
    path.write_text(whole_document(pack_scene(events), None))
    for opened in (view(events), visit(path.as_uri())):
        assert opened.page.inner_text("#title") == name
        assert opened.page.title() != "run"
        assert opened.page.locator("#title *").count() == 0
    data = path.read_text().count("<script")
    assert data == 4 and "onerror" not in path.read_text().split("</style>")[0]


def test_a_hundred_thousand_events_are_drawn_in_part(view):
    """A frame draws what can be told apart, whatever there is; closer, all of it can be reached."""
    count = 100_000
    chance = np.random.default_rng(0)
    header = Header(duration_s=600.0, sample_rate=8000)
    columns: dict[str, Any] = {column.name: np.zeros(count) for column in columns_of("atoms", 1)}
    columns |= {name: np.full(count, SILENT_DB) for name in columns if "level" in name}
    columns["onset_s"] = np.sort(chance.uniform(0, 599, count))
    columns["attack_s"], columns["decay_s"] = np.full(count, 0.001), np.full(count, 0.01)
    columns["freq1_hz"] = np.exp(chance.uniform(np.log(50), np.log(3000), count))
    columns["level1_db"] = chance.uniform(-60, -10, count)
    opened = view(events_from_columns(header, columns, np.zeros((1, 0, 24))))
    page = opened.page
    assert page.inner_text("#counts") == "100000 events"
    assert 500 < page.evaluate("sparse.stage.picture.drawn.length") <= 6000
    row = page.evaluate("""() => {
        const e = 54321;
        const at = sparse.session.table.get(e, 0);
        sparse.stage.view.show(at - 0.2, at + 0.2);
        sparse.stage.draw();
        return sparse.stage.picture.drawn.some((shape) => shape.e === e);
    }""")
    assert row
    near = np.abs(columns["onset_s"] - columns["onset_s"][54321]) < 0.2
    assert page.evaluate("sparse.stage.picture.drawn.length") >= near.sum()
    events = events_from_columns(header, columns, np.zeros((1, 0, 24)))
    part = slice(8000 * 100, 8000 * 101)
    expected = render(events.take(np.abs(columns["onset_s"] - 100.5) < 2), RenderSettings(device="cpu")).samples[
        :, part
    ]
    found = np.array(page.evaluate(f"Array.from(sparse.sound.channels[0].slice({part.start}, {part.stop}))"))
    assert snr_db(expected, found[None].astype(np.float32)) > ALIKE_DB
    assert opened.complaints == []
