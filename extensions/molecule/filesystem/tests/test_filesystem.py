"""The role made no folder, and one that is missing stopped it with a sentence that says what to do."""

from testinfra.host import Host

testinfra_hosts = ["ansible://two"]


def test_a_missing_root_was_refused_and_not_made(host: Host) -> None:
    assert not host.file("/run/let-through").exists
    assert not host.file("/missing").exists
    said = host.file("/run/refused").content_string.strip()
    assert (
        said == "/missing is the root of a volume and no folder of two: make it or mount it first, an agent does not."
    )
