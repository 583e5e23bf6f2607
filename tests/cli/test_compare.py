from __future__ import annotations

import json
from dataclasses import fields

import pytest

from sparsecli.cli.compare import FIGURES
from sparsecli.dsp.quality import Quality


def test_a_table(invoke, tone):
    result = invoke("compare", tone("a.wav", gain=0.5), tone("b.wav", gain=0.45))
    assert (result.exit_code, result.stderr) == (0, "")
    assert "SNR                     20.00 dB" in result.stdout
    assert "spectral convergence    0.1000" in result.stdout


def test_json(invoke, tone):
    result = invoke("compare", "--json", tone("a.wav", gain=0.5), tone("b.wav", gain=0.45))
    record = json.loads(result.stdout)
    assert record["snr_db"] == pytest.approx(20, abs=0.02)  # 16-bit samples
    assert (record["reference"], record["estimate"], record["notices"]) == ("a.wav", "b.wav", [])


def test_the_table_has_every_figure():
    assert list(FIGURES) == [field.name for field in fields(Quality)]


def test_an_exact_copy(invoke, tone):
    record = json.loads(invoke("compare", "--json", tone("a.wav"), "a.wav").stdout)
    assert (record["snr_db"], record["spectral_convergence"]) == (200, 0)


def test_what_had_to_be_done_is_said(invoke, tone):
    result = invoke("compare", tone("a.wav"), tone("b.wav", channels=8, seconds=0.2))
    assert result.exit_code == 0
    assert "sparse: b.wav: 1 and 8 channels: both folded to mono\n" in result.stderr
    assert "the first 0.200 s are compared" in result.stderr
    assert invoke("compare", "-q", "a.wav", "b.wav").stderr == ""


def test_silence(invoke, tone):
    result = invoke("compare", tone("a.wav", gain=0), tone("b.wav"))
    assert result.exit_code == 0
    assert result.stdout.count("undefined") == len(FIGURES)
    assert "the reference is silent" in result.stderr
    record = json.loads(invoke("compare", "--json", "a.wav", "b.wav").stdout)
    assert all(record[name] is None for name in FIGURES)


def test_standard_input_is_read_once(invoke):
    result = invoke("compare", "-", "-")
    assert (result.exit_code, result.stderr) == (
        2,
        "sparse: -: standard input can be read only once; name one of the two\n",
    )


def test_a_missing_recording(invoke, tone):
    for args in ([tone("a.wav"), "missing.wav"], ["missing.wav", "a.wav"]):
        result = invoke("compare", *args)
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", "sparse: missing.wav: no such file\n")
