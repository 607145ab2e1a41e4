"""Files at an address: the right one, whole, or none."""

import hashlib
import http.server
import threading

import pytest

from lib.utils.download import fetch

FILES = {"/a/best.pth": b"first", "/b/best.pth": b"second"}
UNTOLD = {"/untold/half.pth": b"PK\3\4 the half of an archive"}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves FILES; of /cut it gives half."""

    def do_GET(self):
        body = (FILES | UNTOLD).get(self.path, b"half of it")
        self.send_response(200)
        if not self.path.startswith("/untold"):
            self.send_header("Content-Length", str(len(body) * (1 + self.path.startswith("/cut"))))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_two_files_of_one_name_are_two_files(address):
    paths = [fetch(f"{address}{path}") for path in FILES]
    assert [path.read_bytes() for path in paths] == [b"first", b"second"]
    assert [path.name for path in paths] == ["best.pth", "best.pth"]
    assert fetch(f"{address}/a/best.pth") == paths[0]


def test_a_body_that_ends_early_is_named_and_not_kept(address, tmp_path):
    with pytest.raises(ValueError, match=r"/cut/x.pth could not be fetched whole: .* after 10 of 20 bytes"):
        fetch(f"{address}/cut/x.pth")
    assert files_in(tmp_path) == []


def test_half_an_archive_of_untold_length_is_named_and_not_kept(address, tmp_path):
    with pytest.raises(
        ValueError, match=r"/untold/half.pth could not be fetched whole: the archive of 27 bytes has no"
    ):
        fetch(f"{address}/untold/half.pth")
    assert files_in(tmp_path) == []


def test_another_digest_is_named_and_not_kept(address, tmp_path):
    digest = hashlib.sha256(b"first").hexdigest()
    assert fetch(f"{address}/a/best.pth", digest[:8]).read_bytes() == b"first"
    with pytest.raises(ValueError, match="/b/best.pth must have the SHA-256"):
        fetch(f"{address}/b/best.pth", digest)
    assert files_in(tmp_path) == ["best.pth"]


def test_what_torch_has_downloaded_is_taken_if_the_digest_fits(address, tmp_path):
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "best.pth").write_bytes(b"torch's")
    assert fetch("http://127.0.0.1:9/best.pth", hashlib.sha256(b"torch's").hexdigest()).read_bytes() == b"torch's"
    assert fetch(f"{address}/b/best.pth").read_bytes() == b"second"


def test_no_connection_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for address in ("http://127.0.0.1:9/x.pth", "http://[bad/x.pth", "https://"):
        with pytest.raises(ValueError, match="could not be fetched|an address must"):
            fetch(address)
