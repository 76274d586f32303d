from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import asdict

from devtls.ca import store as ca
from devtls.ca.renewal import issue_all
from devtls.session.certificates import LOOK_EVERY, Certificates
from devtls.system.files import make_private_directory
from devtls.system.loop import Loop
from tests.unit.session.stage import Clock, FakeVoice, make_setup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devtls.model import Authority
    from devtls.system.paths import Paths

BEGIN = datetime(2026, 11, 24, tzinfo=UTC)


class Stage:
    """A session that serves love.cat with a certificate of its own, on a day that the test names."""

    def __init__(self, folder: Path) -> None:
        self.paths: Paths = make_setup(folder).paths
        self.authority = ca.create_authority(self.paths, ("love.cat",), BEGIN)
        issue_all(self.paths, ("love.cat",), BEGIN)
        leaf = ca.load_leaf(self.paths, "love.cat", BEGIN)
        assert leaf
        self.today = BEGIN
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.voice = FakeVoice()
        self.renewals = 0
        setup = make_setup(folder, leaves=(leaf,), authorities=(self.authority,))
        self.certificates = Certificates(self.loop, setup, self.voice, self, lambda: self.today)  # type: ignore[arg-type] # a voice
        self.certificates.watch()

    def certificates_renewed(self) -> None:
        self.renewals += 1

    def look(self, day: float) -> None:
        """Have it look on the n-th day."""
        self.today = BEGIN + timedelta(days=day)
        self.clock.now += LOOK_EVERY
        self.loop.turn()

    def trust(self, authority: Authority) -> None:
        """Write the receipt of a store that trusts it."""
        from devtls.trust import receipts

        receipt = receipts.Receipt(
            place="/nssdb",
            store="Chromium",
            root=authority.name,
            fingerprint=authority.fingerprint,
            needs_root=False,
            made_store=False,
            done=True,
        )
        make_private_directory(self.paths.data)
        import json

        document = {"schema": "devtls.trust/1", "receipts": [asdict(receipt)]}
        (self.paths.data / "trust.json").write_text(json.dumps(document))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.loop.close()


def test_a_certificate_is_renewed_when_a_third_of_its_life_is_left_and_not_before(stage: Stage) -> None:
    (before,) = stage.certificates.leaves
    stage.look(19.9)
    assert (stage.renewals, stage.certificates.leaves) == (0, (before,))
    stage.look(20.1)
    (after,) = stage.certificates.leaves
    assert (stage.renewals, after.host, after.serial != before.serial) == (1, "love.cat", True)
    assert after.not_after == stage.today + timedelta(days=30)
    assert before.fullchain.is_file()  # the gateway has not reloaded yet
    assert stage.voice.said == ["the certificate of love.cat is renewed, valid until 2027-01-13"]
    stage.look(20.2)
    assert stage.renewals == 1


def test_after_a_long_sleep_an_expired_certificate_is_renewed(stage: Stage) -> None:
    stage.look(45)
    assert (stage.renewals, stage.certificates.leaves[0].not_after) == (1, stage.today + timedelta(days=30))


def test_an_authority_that_ends_is_told_once_and_a_trusted_successor_takes_over(stage: Stage) -> None:
    last = (stage.authority.not_after - BEGIN).days
    stage.look(last - 20)
    assert stage.certificates.leaves[0].not_after == stage.authority.not_after
    for day in (last - 9, last - 8):
        stage.look(day)
    told = "the certificate of love.cat ends on 2029-11-23, and so does its authority: `devtls trust` makes a new one,"
    assert [line for line in stage.voice.said if "ends on" in line] == [f"{told} and this notices"]
    assert stage.renewals == 1
    successor = ca.create_authority(stage.paths, ("love.cat",), stage.today)
    stage.look(last - 7)
    assert stage.renewals == 1, "nobody trusts it yet"
    stage.trust(successor)
    stage.look(last - 6)
    assert stage.renewals == 2
    assert stage.certificates.leaves[0].not_after == stage.today + timedelta(days=30)
    assert stage.certificates.root_of("love.cat") == successor


def test_what_cannot_be_renewed_is_told_once_and_tried_again(stage: Stage) -> None:
    key = stage.authority.directory / "issuer.pem"
    key.chmod(0o644)
    stage.look(21)
    stage.look(22)
    assert stage.renewals == 0
    (told,) = stage.voice.said
    assert "can be read by others" in told
    key.chmod(0o600)
    stage.look(23)
    assert stage.renewals == 1


def test_who_vouches_for_a_host_is_who_signed_what_is_served(stage: Stage) -> None:
    later = ca.create_authority(stage.paths, ("shop.dev", "love.cat"), BEGIN + timedelta(days=9))
    assert stage.certificates.root_of("love.cat") == stage.authority
    stage.certificates.authorities = (stage.authority, later)
    assert stage.certificates.root_of("love.cat") == stage.authority, "the other one lasts longer, and signed nothing"
