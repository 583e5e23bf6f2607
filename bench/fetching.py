"""Fetching models: a large file over loopback, long listings, and what other commands pay for it (nothing).

python bench/fetching.py      no clips are needed; --megabytes 100 is quicker
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from page import make_parser, table, write_page

from sparsecli.core.manifest import MANIFEST, Model, manifest_bytes
from sparsecli.io.digests import sha256_of

BUCKET, KEYS, REPEATS = "models", 3000, 3
COMMANDS = ("fit", "render", "edit", "info", "compare", "fetch-models")
ACCOUNT = "123456789012"  # moto's
# What boto3 itself has for whole files, in one part as ours: moto reads all of a file for each part. Nothing is checked
# but the length.
PEER = (
    "import boto3, botocore, sys\n"
    "from boto3.s3.transfer import TransferConfig\nfrom botocore.config import Config\n"
    "client = boto3.client('s3', region_name='us-east-1', config=Config(signature_version=botocore.UNSIGNED))\n"
    f"client.download_file('{BUCKET}', 'large.safetensors', sys.argv[1],"
    " Config=TransferConfig(multipart_threshold=1 << 40))"
)
LAUNCH = (
    "import os, sys, time\n"
    "started = time.perf_counter()\n"
    "child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ,"
    " file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])\n"
    "_, status, usage = os.wait4(child, 0)\n"
    "print(time.perf_counter() - started, usage.ru_maxrss, file=sys.stderr)\n"
    "sys.exit(status != 0)"
)
LOADED = (
    "import sys\nfrom sparsecli.cli.app import app\n"
    "try: app([sys.argv[1], '--help'])\nexcept SystemExit: pass\n"
    "print('boto3' in sys.modules, file=sys.stderr)"
)


def serve(large: Path, channel: Connection) -> None:
    """A server that speaks S3, with a large file, its manifest, and a folder of many keys; tells its port."""
    import logging

    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    backend = s3_backends[ACCOUNT]["aws"]
    backend.create_bucket(BUCKET, "us-east-1")
    data = large.read_bytes()
    model = Model("large", large.name, len(data), hashlib.sha256(data).hexdigest(), "none", "1", None, "CC0-1.0")
    backend.put_object(BUCKET, large.name, data)
    backend.put_object(BUCKET, MANIFEST, manifest_bytes([model]))
    for index in range(KEYS):
        backend.put_object(BUCKET, f"many/{index:04}.safetensors", b"x")
    allowed = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    backend.put_bucket_policy(BUCKET, json.dumps({"Statement": [allowed]}).encode())
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    channel.send(server.get_host_and_port()[1])
    threading.Event().wait()  # until it is terminated


def write_large(path: Path, megabytes: int) -> None:
    """A safetensors file of random bytes."""
    import safetensors.numpy

    numbers = np.random.default_rng(0).integers(0, 256, megabytes * 10**6, dtype=np.uint8)
    safetensors.numpy.save_file({"weight": numbers}, path, {"kind": "none", "licence": "CC0-1.0"})


def run(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Wall seconds and peak MB of a process that must end well.

    A small process starts it: the system counts the memory of whoever starts another to that one's peak.
    """
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCH, *command], env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command}: failed: {done.stderr}")
    seconds, peak_kb = done.stderr.splitlines()[-1].split()
    return float(seconds), float(peak_kb) / 1000


def transfer_rows(large: Path, folder: Path, environment: Mapping[str, str]) -> list[list[str]]:
    """The large file: fetched, gone on with from the middle, found to be here; and boto3's own download of it."""
    sparse = [sys.executable, "-m", "sparsecli", "fetch-models", "--quiet", "--dest", str(folder)]
    target = folder / large.name
    rows = []

    sha256 = sha256_of(large)

    def measure(what: str, command: list[str]) -> None:
        seconds, peak_mb = run(command, environment)
        right = "yes" if sha256_of(target) == sha256 else "NO"
        rows.append([what, f"{seconds:.1f}", f"{large.stat().st_size / seconds / 1e6:.0f}", f"{peak_mb:.0f}", right])
        print(*rows[-1], flush=True)

    measure("`sparse fetch-models`", sparse)
    target.unlink()
    half = folder / f".{large.name}.{sha256[:16]}.part"
    with large.open("rb") as source:
        half.write_bytes(source.read(large.stat().st_size // 2))
    measure("the same with half of it here", sparse)
    measure("the same with all of it here", sparse)
    measure("boto3 `download_file` in one part, nothing checked", [sys.executable, "-c", PEER, str(target)])
    return rows


def time_best(command: list[str], environment: Mapping[str, str]) -> str:
    """The best of some runs, in seconds."""
    return f"{min(run(command, environment)[0] for _ in range(REPEATS)):.2f}"


def start_rows(environment: Mapping[str, str]) -> list[list[str]]:
    """`--help` of every command, and whether boto3 was imported for it."""
    rows = []
    for name in COMMANDS:
        seconds = time_best([sys.executable, "-m", "sparsecli", name, "--help"], environment)
        done = subprocess.run([sys.executable, "-c", LOADED, name], capture_output=True, text=True, check=True)
        rows.append([f"`sparse {name} --help`", seconds, {"False": "no", "True": "yes"}[done.stderr.strip()]])
    return rows


def main() -> None:
    """Measure and write the page."""
    parser = make_parser(__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the large file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        large = Path(scratch) / "large.safetensors"
        write_large(large, arguments.megabytes)
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(large, theirs), daemon=True)
        server.start()
        environment = {**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ours.recv()}", "S3_BUCKET": BUCKET}
        listing = [sys.executable, "-m", "sparsecli", "fetch-models", "--list"]
        try:
            transfers = transfer_rows(large, Path(scratch) / "cache", environment)
            lists = [[f"`sparse fetch-models --list`, {KEYS + 1} files", time_best(listing, environment)]]
            starts = start_rows(environment)
        finally:
            server.terminate()
    write_page(
        __file__,
        arguments,
        "Fetching models",
        f"A file of {arguments.megabytes} MB from moto's server over loopback. The server shares the processors; it "
        "reads the file from memory and disk. Ours checks size and SHA-256, and synchronises to disk; time is of the "
        "whole process, start-up included.",
        table(("what", "wall s", "MB/s", "peak MB", "bytes right"), transfers),
        f"Listing, the best of {REPEATS}: four pages of at most 1000 keys from the same server.",
        table(("what", "wall s"), lists),
        f"Start-up, the best of {REPEATS}.",
        table(("what", "wall s", "boto3 imported"), starts),
    )


if __name__ == "__main__":
    main()
