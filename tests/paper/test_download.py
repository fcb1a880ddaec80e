"""Laws of fetching files, with a real server on this machine."""

import hashlib
import random
import socket
from pathlib import Path

import pytest

from foveal.errors import UserError
from foveal.paper.data.download import fetch
from miniatures_signs import Server, serving

CONTENT = random.Random(0).randbytes(600_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


def test_a_file_arrives_whole_and_is_not_asked_for_again(tmp_path: Path) -> None:
    with serving(Server({"/a.zip": CONTENT})) as server:
        for _ in range(2):
            fetch(f"{server.address}/a.zip", tmp_path / "deep" / "a.zip", md5=MD5)
    assert server.asked == [("/a.zip", None)]
    assert (tmp_path / "deep" / "a.zip").read_bytes() == CONTENT
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["a.zip"]


def test_after_a_cut_only_the_rest_is_asked_for(tmp_path: Path) -> None:
    with serving(Server({"/a": CONTENT}, cut=[250_000, 100_000])) as server:
        for had in (250_000, 350_000):
            with pytest.raises(UserError, match=r"connection was lost.*run the same again"):
                fetch(f"{server.address}/a", tmp_path / "a", md5=MD5)
            assert not (tmp_path / "a").exists()
            assert (tmp_path / "a.part").read_bytes() == CONTENT[:had]
        fetch(f"{server.address}/a", tmp_path / "a", md5=MD5)
    assert [wanted for _, wanted in server.asked] == [None, "bytes=250000-", "bytes=350000-"]
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("sized", [True, False])
def test_a_server_that_sends_no_parts_begins_anew(tmp_path: Path, sized: bool) -> None:
    with serving(Server({"/a": CONTENT}, cut=[250_000], ranges=False, sized=sized)) as server:
        with pytest.raises(UserError, match="connection was lost"):
            fetch(f"{server.address}/a", tmp_path / "a")
        assert not (tmp_path / "a").exists()
        fetch(f"{server.address}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"more"])
def test_a_part_that_lacks_nothing_is_taken_or_replaced(tmp_path: Path, part: bytes) -> None:
    (tmp_path / "a.part").write_bytes(part)
    with serving(Server({"/a": CONTENT})) as server:
        fetch(f"{server.address}/a", tmp_path / "a", md5=MD5)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_what_has_another_checksum_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"of another version")
    with serving(Server({"/a": CONTENT})) as server:
        with pytest.raises(UserError, match=f"its MD5 is [0-9a-f]{{32}}, not {MD5}"):
            fetch(f"{server.address}/a", tmp_path / "a", md5=MD5)
        assert list(tmp_path.iterdir()) == []
        fetch(f"{server.address}/a", tmp_path / "a", md5=MD5)
        (tmp_path / "a").write_bytes(b"damaged")
        with pytest.raises(UserError, match="remove it and run the same again"):
            fetch(f"{server.address}/a", tmp_path / "a", md5=MD5)
    assert (tmp_path / "a").read_bytes() == b"damaged"


def test_a_file_that_is_not_there_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    with serving(Server({})) as server, pytest.raises(UserError) as caught:
        fetch(f"{server.address}/a", tmp_path / "a")
    said = str(caught.value)
    assert said.startswith(f"{server.address}/a: the server answers 404 Not Found; fetch ")
    assert f"put it at {tmp_path / 'a'}" in said
    assert "\n" not in said


def test_a_host_that_does_not_answer_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as free:  # a port that nobody listens on
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UserError) as caught:
        fetch(f"http://{host}/a", tmp_path / "a")
    assert str(caught.value) == (
        f"{host} cannot be reached (Connection refused); fetch http://{host}/a on a machine that "
        f"can, put it at {tmp_path / 'a'}, and run the same again"
    )


def test_a_host_that_is_silent_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
        with pytest.raises(UserError, match=r"cannot be reached \(timed out\)"):
            fetch(address, tmp_path / "a", timeout=0.2)


def test_where_no_folder_can_be_made_nothing_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    server = Server({"/a": CONTENT})
    with serving(server), pytest.raises(UserError, match="no folder can be made there"):
        fetch(f"{server.address}/a", tmp_path / "taken" / "a")
    assert server.asked == []
