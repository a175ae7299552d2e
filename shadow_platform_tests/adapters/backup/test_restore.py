"""What is refused of an archive, and what it leaves of the folder it was to be unpacked into: nothing."""

import io
import tarfile
from pathlib import Path
from random import Random

import pytest

from shadow_platform.adapters.backup import check, restore
from shadow_platform.contracts.errors import BackupError
from shadow_platform_tests.adapters.backup.homes import archive_of, contents, make_home


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    make_home(folder / "home")
    return archive_of(folder / "home", folder / "a.tar").path


def test_no_archive_with_one_bit_changed_comes_back_as_something_else(archive: Path, tmp_path: Path) -> None:
    """A bit that nobody reads (padding, the owner's name) may differ; what is restored may not."""
    whole, rng, refused = archive.read_bytes(), Random(7), 0
    restore(archive, tmp_path / "good")
    good = contents(tmp_path / "good")
    for number in range(150):
        place = rng.randrange(len(whole))
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << rng.randrange(8)
        (tmp_path / "spoilt.tar").write_bytes(spoilt)
        home = tmp_path / f"home-{number}"
        try:
            restore(tmp_path / "spoilt.tar", home)
        except BackupError:
            refused += 1
            assert list(home.iterdir()) == []
        else:
            assert contents(home) == good
    assert refused > 100


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.9])
def test_an_archive_that_was_cut_off_is_refused(archive: Path, tmp_path: Path, share: float) -> None:
    whole = archive.read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: int(len(whole) * share)])

    with pytest.raises(BackupError, match=r"cut\.tar (ends too early|is damaged)"):
        restore(tmp_path / "cut.tar", tmp_path / "home")
    with pytest.raises(BackupError, match=r"cut\.tar (ends too early|is damaged)"):
        check(tmp_path / "cut.tar")
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("name", ["home/../outside", "home//etc/outside", "home/"])
def test_no_member_is_written_outside_the_home(archive: Path, tmp_path: Path, name: str) -> None:
    forged = tmp_path / "forged.tar"
    with tarfile.open(archive) as old, tarfile.open(forged, "w") as new:
        member = tarfile.TarInfo(name)
        member.size = 4
        new.addfile(member, io.BytesIO(b"evil"))
        for kept in old.getmembers():
            new.addfile(kept, old.extractfile(kept))

    with pytest.raises(BackupError, match=r"is no file below a home; it was altered, take another archive"):
        restore(forged, tmp_path / "home")
    assert not (tmp_path / "outside").exists()


def test_a_member_that_is_a_file_and_a_folder_is_called_altered(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as old, tarfile.open(tmp_path / "forged.tar", "w") as new:
        for name in ("home/a", "home/a/b"):
            new.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
        for kept in old.getmembers():
            new.addfile(kept, old.extractfile(kept))

    with pytest.raises(BackupError, match=r"'home/a/b' is a file and a folder; it was altered, take another archive"):
        restore(tmp_path / "forged.tar", tmp_path / "home")


def test_what_is_being_restored_is_for_its_owner_alone(archive: Path, tmp_path: Path) -> None:
    seen: set[int] = set()
    restore(archive, tmp_path / "home", lambda _: seen.add((tmp_path / "home" / ".restoring").stat().st_mode & 0o777))
    assert seen == {0o700}


def test_a_member_that_the_list_does_not_name_is_refused(archive: Path, tmp_path: Path) -> None:
    added = tmp_path / "added.tar"
    with tarfile.open(archive) as old, tarfile.open(added, "w") as new:
        member = tarfile.TarInfo("home/serving/forged.rollout")
        new.addfile(member, io.BytesIO(b""))
        for kept in old.getmembers():
            new.addfile(kept, old.extractfile(kept))

    with pytest.raises(BackupError, match=r"is damaged: serving/forged\.rollout and 0 more of \d+ files differ"):
        restore(added, tmp_path / "home")


def test_a_home_that_holds_anything_is_not_touched(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a").write_text("an answer")

    with pytest.raises(BackupError, match=r"holds 1 entries \(log\), expected an empty folder; end what runs on it"):
        restore(archive, tmp_path)
    assert contents(tmp_path) == {"log/a": b"an answer"}


def test_a_new_device_counts_as_empty(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()

    restore(archive, tmp_path)

    assert (tmp_path / "serving" / "shop.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"absent\.tar does not exist; name the file that `shadow backup` wrote"),
        (b"no archive at all" * 100, r"absent\.tar is damaged or no archive of `shadow backup`"),
    ],
)
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "absent.tar").write_bytes(content)
    with pytest.raises(BackupError, match=message):
        restore(tmp_path / "absent.tar", tmp_path / "home")
