"""What perijove tells machines, read by programs of others: Prometheus' parser, OTLP's messages."""

from __future__ import annotations

import base64
import json
import queue
import re
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from example import PATIENCE, Example

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector(ThreadingHTTPServer):
    """Takes what is exported."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.batches: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/json")
        self.server.batches.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        yield server
        server.shutdown()


@pytest.fixture
def site(tmp_path: Path, collector: Collector) -> Iterator[Example]:
    site = Example("wsgi", tmp_path)
    port = collector.server_address[1]
    yield site.serve(
        PERIJOVE_METRICS__LISTEN="127.0.0.1:0",
        PERIJOVE_TRACES__ENDPOINT=f"http://127.0.0.1:{port}",
        OTEL_BSP_SCHEDULE_DELAY="50",
    )
    site.stop()


def get(url: str, **headers: str) -> bytes:
    with urllib.request.urlopen(
        urllib.request.Request(url, headers=headers), None, PATIENCE
    ) as got:
        return got.read()


def test_prometheus_reads_the_metrics(site: Example) -> None:
    get(site.url)
    metrics = json.loads(site.tell("status", "--json"))["metrics"]
    page = get(f"{metrics}/metrics").decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert families["perijove_requests"].type == "counter"
    times = families["perijove_request_duration_seconds"]
    assert times.type == "histogram"
    buckets: dict[str, list[float]] = {}
    for sample in times.samples:
        if sample.name.endswith("_bucket"):
            buckets.setdefault(sample.labels["route"], []).append(sample.value)
    assert all(counts == sorted(counts) for counts in buckets.values())
    counts = {s.labels["route"]: s.value for s in times.samples if s.name.endswith("_count")}
    assert {route: counts[-1] for route, counts in buckets.items()} == counts
    assert counts["/"] >= 1
    for family in families.values():
        assert family.documentation, family.name
        seen = [(s.name, tuple(sorted(s.labels.items()))) for s in family.samples]
        assert len(seen) == len(set(seen)), family.name


def test_spans_are_messages_of_otlp(site: Example, collector: Collector) -> None:
    get(site.url, traceparent=PARENT)
    told = collector.batches.get(timeout=PATIENCE).decode()
    # OTLP writes ids in hexadecimal where protobuf's JSON has base64; all else is protobuf's.
    told = re.sub(
        r'"((?:trace|span|parentSpan)Id)":"([0-9a-f]+)"',
        lambda found: f'"{found[1]}":"{base64.b64encode(bytes.fromhex(found[2])).decode()}"',
        told,
    )
    message = json_format.Parse(told, ExportTraceServiceRequest())
    spans = message.resource_spans[0].scope_spans[0].spans
    request, upstream = spans
    assert request.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert request.parent_span_id.hex() == "b7ad6b7169203331"
    assert (request.kind, upstream.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert upstream.parent_span_id == request.span_id
    assert request.start_time_unix_nano <= upstream.start_time_unix_nano
    assert upstream.end_time_unix_nano <= request.end_time_unix_nano
    attributes = {one.key: one.value for one in request.attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["url.path"].string_value == "/"
