"""Commands that sign and publish bundles: keys, a repository, its renewal, its keys' rotation, and sticks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer
from tuf.api.metadata import Root  # type: ignore[attr-defined]

from edge.bundle import open_bundle
from export.errors import AssemblyError, PublishingError, SigningError
from export.inspection import inspect_bundle
from export.publishing.keys import PUBLIC, Keyring, Secrets, adopt_token_key, make_key, read_keys, read_public
from export.publishing.repository import ROLES, Repository, RoleKeys
from export.publishing.rotation import Change, Rotation, proposed, rotate, sign_waiting
from export.publishing.signing import Expiry, expiry_of
from export.publishing.stick import write_stick

app = typer.Typer(help="Sign bundles and publish them to stations.", no_args_is_help=True)
keys_app = typer.Typer(help="Keys that sign a repository.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")

RepositoryOption = Annotated[Path, typer.Option("--repository", help="The repository's directory.")]
KeysOption = Annotated[
    list[Path], typer.Option("--keys", help="Directory of keys; may be given again, for each holder's.")
]
KeyDirectoryOption = Annotated[Path, typer.Option("--keys", help="Directory of keys.")]
PasswordOption = Annotated[
    Path | None,
    typer.Option("--password-file", help="File with the keys' password or PIN; asked for where not given."),
]
RingsOption = Annotated[list[str], typer.Option("--ring", help="Ring of stations; may be given again.")]
DaysOption = Annotated[
    list[str], typer.Option("--days", help="ROLE=DAYS: for how long that role is signed; may be given again.")
]

_SOON_DAYS: Final = 30
"""So long before an offline role is out of date, its renewal is asked for: people must meet for it."""


@keys_app.command("make")
def keys_make(
    names: Annotated[
        list[str], typer.Argument(help="Each begins with the role it is for: root-1, targets-anna.")
    ],
    keys: KeyDirectoryOption,
    password_file: PasswordOption = None,
) -> None:
    """Make keys, each locked by a password. NAME.pub may be given to anybody, NAME.pem to nobody."""
    for name in names:
        password = _secret_of(password_file)(f"Password of the new key {name}")
        if password_file is None and typer.prompt("Again", hide_input=True, err=True) != password:
            raise SigningError("The two passwords differ.", remedy="Try again.")
        key = make_key(keys, name, password=password)
        typer.echo(f"{keys / name}{PUBLIC}: {key.public.keyid}")


@keys_app.command("token")
def keys_token(
    name: Annotated[str, typer.Argument(help="Begins with the role it is for: root-1, targets-anna.")],
    keys: KeyDirectoryOption,
    key_id: Annotated[int, typer.Option("--id", min=0, help="The key's number; 2 is PIV's slot 9c.")] = 2,
    token: Annotated[str | None, typer.Option("--token", help="Label of the token.")] = None,
    password_file: PasswordOption = None,
) -> None:
    """Write down the public half of a key on a PKCS#11 token, whose library PYKCS11LIB names."""
    key = adopt_token_key(keys, name, key_id=key_id, token_label=token, secrets=_secret_of(password_file))
    typer.echo(f"{keys / name}{PUBLIC}: {key.public.keyid}")


@keys_app.command("list")
def keys_list(keys: KeyDirectoryOption) -> None:
    """List the keys of a directory: name, id, and whether they can sign from here."""
    for key in read_keys(keys):
        typer.echo(f"{key.name:<20} {key.public.keyid} {'signs' if key.can_sign else 'public half alone'}")


@app.command()
def init(
    repository: RepositoryOption,
    keys: KeysOption,
    root_threshold: Annotated[
        int, typer.Option("--root-threshold", min=1, help="How many root keys must sign a root.")
    ] = 2,
    targets_threshold: Annotated[
        int, typer.Option("--targets-threshold", min=1, help="How many targets keys must sign a release.")
    ] = 1,
    days: DaysOption = [],  # noqa: B006 - typer's way of an option that may be absent
    password_file: PasswordOption = None,
) -> None:
    """Make an empty repository. Every key signs for the role that its name begins with."""
    works = _repository(repository, keys, password_file)
    thresholds = {"root": root_threshold, "targets": targets_threshold}
    found = works.signatory.keyring.keys
    roles = {
        role: RoleKeys(
            keys=tuple(key.public for key in found if key.name.split("-")[0] == role),
            threshold=thresholds.get(role, 1),
        )
        for role in ROLES
    }
    works.create(roles, expiry=_expiry(Expiry(), days))
    works.check_as_station()
    typer.echo(f"{repository}: give stations {repository}/metadata/1.root.json as their trusted root.")


@app.command()
def publish(
    bundle: Annotated[Path, typer.Argument(help="The bundle's directory.")],
    repository: RepositoryOption,
    keys: KeysOption,
    ring: RingsOption = ["stable"],  # noqa: B006 - typer's way of a default list
    password_file: PasswordOption = None,
) -> None:
    """Check a bundle, run its golden set, sign it, and offer it to rings of stations."""
    opened = open_bundle(bundle)
    found = inspect_bundle(opened)
    if not (found.golden and found.passed):
        said = "; ".join(map(str, found.golden)) or "no precision has both networks"
        raise AssemblyError(
            f"The bundle does not prove itself here: {said}.",
            remedy="See `leukoscope-export inspect`; leave that precision out, or make the bundle anew.",
        )
    works = _repository(repository, keys, password_file)
    publication = works.publish(opened, rings=ring)
    release = publication.release
    typer.echo(
        f"{release.name} release {release.release}, id {release.id[:12]}, for {', '.join(release.rings)}"
    )
    if publication.visible:
        works.check_as_station()
    else:
        typer.echo("Signed. Stations see it after `leukoscope-export refresh` with the other keys.")


@app.command()
def withdraw(
    release: Annotated[int, typer.Argument(min=1, help="The release's number.")],
    repository: RepositoryOption,
    keys: KeysOption,
    ring: Annotated[
        list[str], typer.Option("--ring", help="Ring of stations; may be given again. Left out: all.")
    ] = [],  # noqa: B006
    password_file: PasswordOption = None,
) -> None:
    """Offer a release no more. A station that has it keeps it until a newer release comes."""
    works = _repository(repository, keys, password_file)
    publication = works.withdraw(release, rings=ring)
    left = publication.release
    typer.echo(f"{left.name} release {left.release} is offered to {', '.join(left.rings) or 'nobody'}.")
    if publication.visible:
        works.check_as_station()
    else:
        typer.echo("Signed. Stations see it after `leukoscope-export refresh` with the other keys.")


@app.command()
def refresh(repository: RepositoryOption, keys: KeysOption, password_file: PasswordOption = None) -> None:
    """Sign the timestamp anew, and what else would expire: to be run by a timer."""
    works = _repository(repository, keys, password_file)
    works.refresh()
    works.check_as_station()
    state = works.read()
    if state.timestamp is not None:
        typer.echo(f"Good until {state.timestamp.signed.expires:%Y-%m-%d %H:%M} UTC.")
    for metadata, renewal in ((state.root, "rotate --role root"), (state.targets, "refresh")):
        if metadata is not None and works.signatory.expires_in(_SOON_DAYS) > metadata.signed.expires:
            typer.echo(
                f"The {metadata.signed.type} is good until {metadata.signed.expires:%Y-%m-%d} alone: "
                f"`leukoscope-export {renewal}` with its offline keys.",
                err=True,
            )


@app.command("rotate")
def rotate_command(
    repository: RepositoryOption,
    keys: KeysOption,
    role: Annotated[str, typer.Option("--role", help=f"One of {', '.join(ROLES)}.")] = "root",
    add: Annotated[list[Path], typer.Option("--add", help="Public half of a key that is to sign.")] = [],  # noqa: B006
    remove: Annotated[
        list[str], typer.Option("--remove", help="Name, or *.pub file, or id, of a key that is to go.")
    ] = [],  # noqa: B006
    threshold: Annotated[
        int | None, typer.Option("--threshold", min=1, help="How many keys of the role must sign.")
    ] = None,
    days: DaysOption = [],  # noqa: B006
    password_file: PasswordOption = None,
) -> None:
    """Change who signs for a role, by a new root; without a change, renew the root's date."""
    if role not in ROLES:
        raise PublishingError(f"There is no role {role!r}.", remedy=f"Roles: {', '.join(ROLES)}.")
    works = _repository(repository, keys, password_file)
    change = Change(
        role=role,
        add=tuple(read_public(each) for each in add),
        remove=tuple(_key_id(each, works) for each in remove),
        threshold=threshold,
        expiry=_expiry(expiry_of(works.read().root.signed), days) if days else None,
    )
    _tell(rotate(works, change), works)


@app.command()
def sign(
    repository: RepositoryOption,
    keys: KeysOption,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without being asked.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Forget the root that waits.")] = False,
    password_file: PasswordOption = None,
) -> None:
    """Show what the waiting root changes, and sign it with further holders' keys."""
    works = _repository(repository, keys, password_file)
    for line in proposed(works):
        typer.echo(line)
    if forget:
        works.store.keep_waiting(None)
        typer.echo("Forgotten.")
    elif yes or typer.confirm("Sign this?"):
        _tell(sign_waiting(works), works)


@app.command()
def usb(
    repository: RepositoryOption,
    to: Annotated[Path, typer.Option("--to", help="Where the stick is mounted.")],
    ring: RingsOption = [],  # noqa: B006
) -> None:
    """Write metadata and the newest bundles to a stick; only what it lacks is copied."""
    works = _repository(repository, [], None)
    with typer.progressbar(length=1000, label=str(to)) as bar:
        written = write_stick(
            works,
            mount=to,
            rings=tuple(ring),
            progress=lambda done, total: bar.update(int(1000 * done / max(1, total)) - bar.pos),
        )
    for release in written.releases:
        typer.echo(f"{release.name} release {release.release} for {', '.join(release.rings)}")
    typer.echo(
        f"{written.place}: {written.written_bytes / 1e6:.1f} MB written, and read back as a station does."
    )


@app.command()
def status(repository: RepositoryOption) -> None:
    """Say who signs, until when, and which releases are offered to whom."""
    store = _repository(repository, [], None).store
    state = store.read()
    root = state.root.signed
    for role, metadata in (
        ("root", state.root),
        ("targets", state.targets),
        ("snapshot", state.snapshot),
        ("timestamp", state.timestamp),
    ):
        dated = (
            "unsigned"
            if metadata is None
            else f"{metadata.signed.version}, {metadata.signed.expires:%Y-%m-%d}"
        )
        typer.echo(f"{role:<10} version {dated:<18} {_signers(root, role)}")
    if (waiting := store.waiting()) is not None:
        typer.echo(f"root {waiting.signed.version} waits for signatures: see `leukoscope-export sign`")
    for release in state.releases:
        rings = ", ".join(release.rings) or "nobody"
        typer.echo(f"release {release.release}: {release.name}, id {release.id[:12]}, for {rings}")


def _repository(directory: Path, keys: list[Path], password_file: Path | None) -> Repository:
    return Repository(
        directory=directory, keyring=Keyring(directories=keys, secrets=_secret_of(password_file))
    )


def _secret_of(password_file: Path | None) -> Secrets:
    """Ask a person, or take every secret from one file; never from the command line, which all can see."""
    if password_file is None:
        return lambda words: str(typer.prompt(words, hide_input=True, err=True))
    try:
        password = password_file.read_text("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise SigningError(
            f"The password in {password_file} cannot be read: {error}.",
            remedy="Name a text file of one line.",
        ) from error
    return lambda _: password


def _expiry(expiry: Expiry, days: list[str]) -> Expiry:
    for each in days:
        role, _, number = each.partition("=")
        if role not in ROLES or not number.isdigit():
            raise PublishingError(
                f"{each!r} does not say for how long a role is signed.", remedy="Give --days timestamp=14."
            )
        expiry = replace(expiry, **{role: int(number)})
    return expiry


def _key_id(named: str, works: Repository) -> str:
    if named.endswith(PUBLIC):
        return read_public(Path(named)).keyid
    for key in works.signatory.keyring.keys:
        if key.name == named:
            return key.public.keyid
    return named


def _signers(root: Root, role: str) -> str:
    signers = root.roles[role]
    ids = ", ".join(each[:8] for each in signers.keyids)
    return f"{signers.threshold} of {len(signers.keyids)} must sign: {ids}"


def _tell(rotation: Rotation, works: Repository) -> None:
    if rotation.missing:
        typer.echo(
            f"Root {rotation.version} waits for {rotation.missing} more signature(s): "
            "have other holders run `leukoscope-export sign`."
        )
    else:
        works.check_as_station()
        typer.echo(f"Root {rotation.version} is in effect.")
