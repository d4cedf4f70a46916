"""Hostile requests: each is refused with a 4xx that says why, and none ends the gateway."""

from __future__ import annotations

import base64
import io
import json
import random
import socket
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import PIL.Image
import pytest

from labelmill.gateway.settings import GatewaySettings
from tests.support.gateway import serving

TEXT = {"model": "texts", "text": "Hello"}
JSON = {"content-type": "application/json"}

BODIES = {
    "nothing": (b"", 422),
    "no JSON": (b"{", 422),
    "a list": (b"[]", 422),
    "a number": (b"1", 422),
    "not a number": (b'{"model": "texts", "text": "a", "top_k": NaN}', 422),
    "an infinite priority": (b'{"model": "texts", "text": "a", "priority": 1e999}', 422),
    "a huge integer": (b'{"model": "texts", "text": "a", "top_k": ' + b"9" * 5000 + b"}", 422),
    "a lone surrogate": (b'{"model": "texts", "text": "\\ud800"}', 422),
    "no UTF-8": (b'{"model": "texts", "text": "\xff"}', 422),
    "a deep list": (b"[" * 100_000, 422),
    "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 422),
    "a deep job": (b'{"model":"texts","jobs":' + b"[" * 5_000 + b"]" * 5_000 + b"}", 422),
    "a NUL in the text": (b'{"model": "texts", "text": "a\\u0000b"}', 202),
    "a NUL in the run": (b'{"model": "texts", "text": "a", "run": "a\\u0000b"}', 202),
    "a NUL in the id": (b'{"model": "texts", "text": "a", "id": "a\\u0000b"}', 422),
    "a NUL in the model": (b'{"model": "te\\u0000xts", "text": "a"}', 422),
    "an unknown field": (b'{"model": "texts", "text": "a", "b": 1}', 422),
    "both inputs": (b'{"model": "texts", "text": "a", "image": {"uri": "b"}}', 422),
    "no input": (b'{"model": "texts"}', 422),
    "an empty text": (b'{"model": "texts", "text": ""}', 422),
    "a text for images": (b'{"model": "images", "text": "a"}', 422),
    "an image for texts": (b'{"model": "texts", "image": {"uri": "a"}}', 422),
    "no jobs": (b'{"model": "texts", "jobs": []}', 422),
    "no job that can be done": (b'{"model": "texts", "jobs": [{"text": ""}]}', 422),
    "too many jobs": (json.dumps({"model": "texts", "jobs": [{"text": "a"}] * 1001}).encode(), 422),
    "a time without a zone": (b'{"model":"texts","text":"a","eta":"2026-01-01T00:00:00"}', 422),
    "a time in the year 9999": (
        b'{"model":"texts","text":"a","eta":"9999-12-31T23:59:59-23:59"}',
        422,
    ),
    "a time in the year 1": (
        b'{"model":"texts","text":"a","eta":"0001-01-01T00:00:00+23:59"}',
        422,
    ),
    "no base64": (b'{"model": "images", "image": {"base64": "!"}}', 422),
    "a large text": (json.dumps({"model": "texts", "text": "a" * 300_000}).encode(), 413),
}


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_job_is_refused(gateway: httpx.Client, body: bytes, status: int) -> None:
    answer = gateway.post("/v1/jobs", content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    if status != 202:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]
        assert gateway.get("/v1/models").json()["models"][0]["waiting"] == 0


def test_what_is_no_json_and_no_files_is_refused(gateway: httpx.Client) -> None:
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "", "\xff/\xff"):
        answer = gateway.post(
            "/v1/jobs", content=b"{}", headers={"content-type": media_type.encode("latin-1")}
        )
        assert answer.status_code == 415, answer.text


def test_a_body_of_many_parts_is_refused_before_it_is_parsed(
    gateway: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [
        b'{"model":"texts","text":"a",' + b",".join(b'"%d":0' % n for n in range(20_000)) + b"}",
        b'{"model":"texts","jobs":[' + b"[]," * 20_000 + b"[]]}",
        b'{"model":"texts","jobs":[' + b'{"b":0},' * 20_000 + b"{}]}",
        b'["' + b'\\"' * 10 + b'"' + b',""' * 30_000 + b"]",
    ]
    with monkeypatch.context() as patched:
        for parser in ("_SHAPE", "_ONE", "_MANY"):
            patched.setattr(f"labelmill.gateway.bodies.{parser}", None)
        for body in bodies:
            answer = gateway.post("/v1/jobs", content=body, headers=JSON)
            assert answer.status_code == 422, answer.text
            assert "send it in parts" in answer.json()["detail"]


def test_texts_may_be_full_of_what_json_is_made_of(gateway: httpx.Client) -> None:
    job = {"text": '\\"[{,' * 10_000, "image": None, "id": None, "top_k": 2}
    jobs = [job] * 50 + [{"image": {"uri": "a", "base64": None}, "text": None}] * 950
    answer = gateway.post("/v1/jobs", json={"model": "texts", "jobs": jobs})
    assert answer.status_code == 202, answer.text
    assert [each for each in answer.json()["jobs"] if "id" in each] == answer.json()["jobs"][:50]


def test_a_long_name_does_not_come_back(gateway: httpx.Client) -> None:
    answer = gateway.post("/v1/jobs", content=b'{"' + b"a" * 100_000 + b'": 1}', headers=JSON)
    assert answer.status_code == 422
    assert len(answer.content) < 1000


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: loc"], ids=["silent", "half"]
)
def test_a_connection_without_a_request_is_given_up(
    settings: GatewaySettings, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("labelmill.gateway.connections.HEAD_SECONDS", 0.2)
    with serving(settings) as gateway:
        address = (gateway.base_url.host, gateway.base_url.port or 0)
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(sent)
            assert connection.recv(1) == b""
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
            connection.sendall(b"GET /healthz")
            while connection.recv(4096):
                pass
        job = gateway.post("/v1/jobs", json=TEXT).json()["url"]
        assert gateway.get(job, params={"wait": "1"}).status_code == 200


@pytest.mark.parametrize(
    "asked",
    [{"id": "."}, {"id": ".."}, {"id": "a/thumbnail"}, {"run": ".."}, {"run": "a/throughput"}],
)
def test_an_id_that_would_have_no_address_is_refused(
    gateway: httpx.Client, asked: dict[str, str]
) -> None:
    answer = gateway.post("/v1/jobs", json=TEXT | asked)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_job")


def test_an_error_of_the_gateway_has_the_headers_of_all_answers(
    gateway: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labelmill.gateway.api.models.models", None)
    answer = gateway.get("/v1/models")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_few_images_are_decoded_at_the_same_time(
    gateway: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def thumbnail(_: bytes) -> bytes:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.05)
        with lock:
            now -= 1
        return b""

    monkeypatch.setattr("labelmill.gateway.api.jobs.thumbnail", thumbnail)
    job = {"model": "images", "image": {"base64": base64.b64encode(b"a").decode()}}
    url = gateway.post("/v1/jobs", json=job).json()["url"]
    with ThreadPoolExecutor(8) as readers:
        answers = list(readers.map(gateway.get, [f"{url}/thumbnail"] * 16))
    assert {each.status_code for each in answers} == {200}
    assert most <= 2


def test_a_model_that_has_just_been_added_is_known(
    gateway: httpx.Client, settings: GatewaySettings
) -> None:
    assert gateway.post("/v1/jobs", json=TEXT).status_code == 202
    models = settings.models_file.read_text()
    settings.models_file.write_text(models.replace("models.texts", "models.more"))
    answer = gateway.post("/v1/jobs", json=TEXT | {"model": "more"})
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("claims_its_length", [True, False])
def test_a_body_over_the_limit_is_refused_before_its_end(
    gateway: httpx.Client, settings: GatewaySettings, claims_its_length: bool
) -> None:
    port = gateway.base_url.port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        length = (
            f"Content-Length: {settings.max_body_bytes + 1}"
            if claims_its_length
            else "Transfer-Encoding: chunked"
        )
        head = ["POST /v1/jobs HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
        connection.sendall("\r\n".join([*head, length, "", ""]).encode())
        if not claims_its_length:
            chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
            for _ in range(settings.max_body_bytes // 0x10000 + 1):
                connection.sendall(chunk)
        assert connection.recv(64).startswith(b"HTTP/1.1 413 ")


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, "red").save(buffer, kind)
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A small file whose header promises a giant image, and whose pixels are zeros."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return len(content).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    pixels = zlib.compress(bytes(1_000_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def corpus() -> Iterator[bytes]:
    """Images as they should not be; always the same."""
    chance = random.Random(5)
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
        whole = picture(kind)
        yield whole
        for _ in range(4):
            yield whole[: chance.randrange(len(whole))]
            mutated = bytearray(whole)
            for _ in range(8):
                mutated[chance.randrange(len(mutated))] = chance.randrange(256)
            yield bytes(mutated)
    yield from (
        b"",
        b"\x00" * 100,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"PK\x03\x04" * 50,
    )
    yield from (png_that_claims(60_000, 60_000), png_that_claims(2**31 - 1, 2**31 - 1))
    yield chance.randbytes(5000)


def test_no_upload_of_the_corpus_makes_the_gateway_fail(gateway: httpx.Client) -> None:
    names = ["a.png", "../../etc/passwd", "\x00", "ü" * 300, 'a"b.png', "", "a\r\nX: y", "C:\\a"]
    seen = set()
    for number, content in enumerate(corpus()):
        name = names[number % len(names)]
        answer = gateway.post(
            "/v1/jobs", data={"model": "images"}, files={"file": (name, content, "image/png")}
        )
        seen.add(answer.status_code)
        assert answer.status_code in (202, 415, 422), answer.text
        if answer.status_code == 202:
            thumbnail = gateway.get(answer.json()["url"] + "/thumbnail")
            seen.add(thumbnail.status_code)
            assert thumbnail.status_code in (200, 413, 422), thumbnail.text
    assert seen == {200, 202, 413, 415, 422}


MULTIPART = {
    "no boundary": ("multipart/form-data", b"--a\r\n"),
    "an empty boundary": ("multipart/form-data; boundary=", b"--\r\n"),
    "no parts": ("multipart/form-data; boundary=a", b"--a--\r\n"),
    "nothing": ("multipart/form-data; boundary=a", b""),
    "a part without a name": (
        "multipart/form-data; boundary=a",
        b"--a\r\nContent-Disposition: form-data\r\n\r\nb\r\n--a--\r\n",
    ),
    "a part without a header": ("multipart/form-data; boundary=a", b"--a\r\n\r\nb\r\n--a--\r\n"),
    "no end": (
        "multipart/form-data; boundary=a",
        b'--a\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nb',
    ),
    "thousands of fields": (
        "multipart/form-data; boundary=a",
        b'--a\r\nContent-Disposition: form-data; name="b"\r\n\r\nc\r\n' * 5000 + b"--a--\r\n",
    ),
    "thousands of files": (
        "multipart/form-data; boundary=a",
        b'--a\r\nContent-Disposition: form-data; name="file"; filename="b"\r\n\r\nBM\r\n' * 3000
        + b"--a--\r\n",
    ),
    "a large field": (
        "multipart/form-data; boundary=a",
        b'--a\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
        + b"c" * 100_000
        + b"\r\n--a--\r\n",
    ),
    "a large header": (
        "multipart/form-data; boundary=a",
        b"--a\r\nX: " + b"c" * 1_000_000 + b"\r\n\r\nb\r\n--a--\r\n",
    ),
    "an odd charset": (
        "multipart/form-data; boundary=a; charset=zlib",
        b'--a\r\nContent-Disposition: form-data; name="model"\r\n\r\ntexts\r\n--a--\r\n',
    ),
    "a part in UTF-7": (
        "multipart/form-data; boundary=a; charset=utf-7",
        b'--a\r\nContent-Disposition: form-data; name="model"\r\n\r\n+2AA-\r\n--a--\r\n',
    ),
}


@pytest.mark.parametrize(("media_type", "body"), MULTIPART.values(), ids=MULTIPART)
def test_files_that_are_not_well_formed_are_refused(
    gateway: httpx.Client, media_type: str, body: bytes
) -> None:
    answer = gateway.post("/v1/jobs", content=body, headers={"content-type": media_type})
    assert answer.status_code in (413, 415, 422), answer.text
    assert gateway.get("/healthz").status_code == 200


def test_paths_and_queries_that_nobody_means_are_answered(gateway: httpx.Client) -> None:
    for path in (
        "/v1/jobs/%00",
        "/v1/jobs/%ff%fe",
        "/v1/jobs/" + "a" * 10_000,
        "/v1/jobs/..%2f..%2fetc",
        "/v1/runs/%00/throughput",
        "/v1/results?q=%00",
        "/v1/results?q=%ff&model=%00",
        "/v1/results?cursor=AAAA",
        "/v1/results?limit=99999999999999999999",
        "/v1/results?min_score=nan",
        "/v1/results?since=9999-12-31T23:59:59-23:59",
        "/v1/results?since=0001-01-01T00:00:00%2B23:59",
        "/v1/results?until=1e308",
        "/v1/runs?cursor=%00",
        "/v1/jobs/a?wait=-1s",
        "/v1/dead?model=%00",
        "/v1/dead?model=*",
        "/page/..%2f..%2fapp.py",
        "/page/%00",
    ):
        assert gateway.get(path).status_code in (200, 404, 414, 422), path
