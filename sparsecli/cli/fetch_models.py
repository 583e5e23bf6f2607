"""`sparse fetch-models`: trained models from a bucket, and one's own into it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sparsecli.core.errors import SparseError
from sparsecli.core.fetch_settings import FetchSettings
from sparsecli.io.model_store import model_folder

from . import options
from .console import Console, print_json
from .model_lists import check_local, list_bucket, list_local, print_models, print_models_json
from .model_transfers import Wish, fetch, publish_folder
from .options import settings_from, usage_errors
from .runner import Named, run_each

JOBS = 4  # connections at once; more bring no more over most lines

setting = partial(options.setting, FetchSettings)
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME", help="Models, or keys of files; by default all in the manifest.", show_default=False
    ),
]
List = Annotated[bool, typer.Option("--list", help="Print what there is, and fetch nothing.")]
BucketName = Annotated[
    str | None, setting("s3_bucket", "--bucket", "NAME", "Where models come from; else what S3_BUCKET names.")
]
EndpointUrl = Annotated[
    str | None, setting("endpoint_url", "--endpoint-url", "URL", "Of a server beside AWS: MinIO, R2, Ceph.")
]
Prefix = Annotated[str | None, setting("prefix", "--prefix", "FOLDER", "In the bucket.")]
Dest = Annotated[
    str | None, setting("dest", "--dest", "DIR", "Where to keep models; else the user's cache, or SPARSE_CACHE.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Look only at what is here; no network.")]
Force = Annotated[bool, typer.Option("--force", help="Fetch what is here already.")]
Verify = Annotated[bool, typer.Option("--verify", help="Read what is here from end to end and check it; no network.")]
Legacy = Annotated[
    bool, typer.Option("--legacy", help="Also fetch weights of the original project, by key, to be looked at.")
]
Publish = Annotated[
    str | None, typer.Option("--publish", metavar="DIR", help="Write the models of a folder into the bucket.")
]
Signed = Annotated[bool | None, setting("signed", "--signed", None, "Sign requests with credentials.")]
Profile = Annotated[str | None, setting("profile", "--profile", "NAME", "Sign with this profile of credentials.")]
MaxBytes = Annotated[int | None, setting("max_bytes", "--max-bytes", "N", "Fetch no larger file.")]
Timeout = Annotated[
    float | None, setting("timeout_s", "--timeout", "S", "Give up a connection that brings nothing for so long.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="With --publish, replace models that exist.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Files fetched at once.")]


def fetch_models_command(
    context: typer.Context,
    names: Names = None,
    listing: List = False,
    s3_bucket: BucketName = None,
    endpoint_url: EndpointUrl = None,
    prefix: Prefix = None,
    dest: Dest = None,
    offline: Offline = False,
    force: Force = False,
    verify: Verify = False,
    legacy: Legacy = False,
    publish: Publish = None,
    overwrite: Overwrite = False,
    signed: Signed = None,
    profile: Profile = None,
    max_bytes: MaxBytes = None,
    timeout_s: Timeout = None,
    config: options.Config = None,
    assignments: options.Set = None,
    jobs: Jobs = JOBS,
    as_json: options.Json = False,
    progress: options.ShowProgress = None,
    quiet: options.Quiet = False,
) -> None:
    """Fetch trained models from a bucket, check them, and keep them where other commands find them by name.

    A manifest in the bucket, models.json, says size and SHA-256 of each; what does not agree is not kept.

    Files that are not safetensors are refused. Requests are anonymous unless --signed or --profile is given.

    docs/models.md tells what is checked, and how models are shared.
    """
    console = Console(quiet, progress)
    with usage_errors(console):
        settings = settings_from(context, FetchSettings, "fetch-models", config, assignments)
        _check_modes({"--list": listing, "--verify": verify, "--publish": publish is not None})
        fetching = not (listing or verify or publish is not None)
        _check_meaning(
            {
                "NAME": bool(names) and not (fetching or verify),
                "--offline": offline and publish is not None,
                "--force": force and (offline or not fetching),
                "--legacy": legacy and not fetching,
                "--overwrite": overwrite and publish is None,
            }
        )
        place = Named("" if offline or verify else f"s3://{settings.bucket_name()}")
    show = print_json if as_json else None
    here = Named(str(model_folder(settings.dest)))
    if publish is not None:
        publish_folder(Path(publish), place, settings, overwrite, console, show)
    elif listing:
        work = partial(list_local if offline else list_bucket, settings)
        run_each(work, [here if offline else place], console, print_models_json if as_json else print_models)
    elif offline or verify:
        check_local(names, here, console, show)
    else:
        fetch(names, place, settings, Wish(force, legacy), console, show, jobs)


def _check_modes(given: dict[str, bool]) -> None:
    chosen = [name for name, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise SparseError(chosen[1], f"cannot be done together with {chosen[0]}", "give one of them")


def _check_meaning(meaningless: dict[str, bool]) -> None:
    """Raise SparseError where an option was given that means nothing in what is to be done."""
    for name, is_so in meaningless.items():
        if is_so:
            raise SparseError(name, "means nothing here", "leave it out")
