"""Runs real clients against a real server, end to end into what a chart shows. Called by scripts/test-integrations.

    run.py BELLWETHER PYTHON BENTOML_PYTHON     (BENTOML_PYTHON may be empty when it does not install)
"""

import http.client
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).parent
GUIDE = HERE.parent.parent / "docs" / "plug-in.md"
PATIENCE = 60

class Server:
    """The real program, with a Postgres that scripts/with-postgres started."""

    def __init__(self, program, folder):
        self.program = program
        log = open(folder / "bellwether.log", "w")
        self.log = log.name
        self.process = subprocess.Popen(
            [program, "serve", "--listen", "127.0.0.1:0", "--data-dir", str(folder / "data")],
            stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder,
        )
        self.url, password = self.greeting()
        self.token = self.make_token(password)
        self.call("POST", "/api/v1/models", {"name": "fares", "task": "regression"})
        self.call("POST", "/api/v1/models", {"name": "churn", "task": "binary", "positive_class": "true"})
        for model in ["fares", "churn"]:
            self.call("POST", f"/api/v1/models/{model}/versions", {"version": "v1"})

    def greeting(self):
        """The address and the first password, which are printed once."""
        line = self.process.stdout.readline()
        found = re.search(r"(http://[^/ ]+)", line)
        if not found:
            raise SystemExit(f"the service did not start: see {self.log}\n{open(self.log).read()[-3000:]}")
        return found.group(1), self.process.stdout.readline().strip()

    def make_token(self, password):
        """Signs in as a person would, and makes a token on the page of settings."""
        jar = urllib.request.HTTPCookieProcessor()
        browser = urllib.request.build_opener(jar)

        def form(path, **fields):
            data = urllib.parse.urlencode(fields).encode()
            headers = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
            return browser.open(urllib.request.Request(self.url + path, data, headers)).read().decode()

        def csrf(page):
            return re.search(r'name="csrf"[^>]*value="([^"]+)"', page).group(1)

        form("/sign-in", email="admin@localhost", password=password, next="/")
        settings = browser.open(self.url + "/settings").read().decode()
        self.browser = browser
        fields = {"name": "integrations", "scope_admin": "on", "csrf": csrf(settings)}
        made = form("/settings/tokens", **fields)
        return re.search(r"bw_[A-Za-z0-9_-]{20,}", made).group(0)

    def call(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data) as answer:
            return json.loads(answer.read() or b"null")

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def page(self, path):
        return self.browser.open(self.url + path).read().decode()

    def counts(self, model, kind):
        return self.call("GET", f"/api/v1/models/{model}/intake")[kind]

    def until(self, what, found, expected):
        """Waits until `found()` is what is expected."""
        began = time.monotonic()
        while True:
            last = found()
            if last == expected:
                print(f"ok  {what}: {last}")
                return
            if time.monotonic() - began > PATIENCE:
                raise SystemExit(f"FAILED  {what}: {last}, not {expected}")
            time.sleep(0.2)


class Reluctant(http.server.BaseHTTPRequestHandler):
    """Answers 503 to the first request, as an overloaded service does, and passes the others on."""

    target, refused, passed = "", 0, 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not Reluctant.refused:
            Reluctant.refused += 1
            self.send_response(503)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        Reluctant.passed += 1
        kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length", "connection")}
        request = urllib.request.Request(Reluctant.target + self.path, body, kept, method="POST")
        with urllib.request.urlopen(request) as answer:
            told = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["content-type"])
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

    def log_message(self, *_):
        pass


def client(python, *arguments, complains=None):
    """Runs a client; it must not complain, or complain of just this."""
    command = [python, str(HERE / "clients.py"), *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=180)
    said = "\n".join(line for line in ran.stderr.splitlines() if "Warning" not in line and "warnings.warn" not in line)
    if ran.returncode != 0:
        raise SystemExit(f"FAILED  {arguments[:2]}: {ran.stderr[-2000:]}")
    if complains is None and said.strip():
        raise SystemExit(f"FAILED  {arguments[:2]} complains: {said[-2000:]}")
    if complains is not None and complains not in said:
        raise SystemExit(f"FAILED  {arguments[:2]} should complain of {complains!r}: {said[-2000:]}")
    return int(ran.stdout.split()[-1])


def opentelemetry(server, python):
    """Logs, traces and metrics, over HTTP and gRPC, plain and packed: each row once, whatever the way."""
    bare = server.url.removeprefix("http://")
    rows = 0
    for protocol, address in [("http", server.url), ("grpc", bare)]:
        for packed in [[], ["gzip"]]:
            for signal in ["logs", "traces", "metrics"]:
                sent = client(python, signal, protocol, address, server.token, *packed)
        rows += sent
    # Plain and packed bring the same ids, of events and of spans. Their content differs in its time, so the first stands.
    predictions = lambda: {k: server.counts("fares", "predictions")[k] for k in ["accepted", "conflicting", "rejected"]}
    server.until("predictions", predictions, {"accepted": 2 * rows, "conflicting": 2 * rows, "rejected": 0})
    server.until("labels joined or kept", lambda: server.counts("fares", "labels")["waiting"], 0)
    read = server.call("GET", "/api/v1/models/fares/telemetry")
    found = {series["measure"]: series["points"] for series in read}
    wanted = ["cpu_utilization", "request_duration", "requests", "traced_call_duration", "traced_input_tokens"]
    for measure in wanted:
        if not found.get(measure):
            raise SystemExit(f"FAILED  telemetry has no {measure}: {sorted(found)}")
    level = found["cpu_utilization"][-1]["value"]
    if level != 0.25:
        raise SystemExit(f"FAILED  the level is {level}")
    page = server.page("/models/fares")
    for title in ["In service", "Processor utilisation", "Duration of requests"]:
        if title not in page:
            raise SystemExit(f"FAILED  the page does not show {title!r}")
    print("ok  telemetry by API and on the page:", ", ".join(sorted(found)))
    unused = {(u["signal"], u["name"]): u["reason"] for u in server.call("GET", "/api/v1/telemetry/unused")}
    expected = {
        ("logs", "shop.opened"): "no_prediction", ("traces", "shop"): "no_prediction",
        ("metrics", "shop.visits"): "unknown_metric",
    }
    if unused != expected:
        raise SystemExit(f"FAILED  not used: {unused}")
    print("ok  what is not used is named once")


def troubles(server, python):
    """What clients do about what goes wrong."""
    Reluctant.target = server.url
    stand_in = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Reluctant)
    threading.Thread(target=stand_in.serve_forever, daemon=True).start()
    before = server.counts("fares", "predictions")["accepted"]
    address = f"http://127.0.0.1:{stand_in.server_port}"
    client(python, "logs", "http", address, server.token, 3, complains="retrying in 1.00s")
    if (Reluctant.refused, Reluctant.passed) != (1, 1):
        raise SystemExit(f"FAILED  refused {Reluctant.refused}, passed {Reluctant.passed}")
    print("ok  sent again after a 503")
    client(python, "logs", "http", server.url + "/nowhere", server.token, 1, complains="404")
    client(python, "logs", "http", server.url, "wrong", 1, complains="401")
    bare = server.url.removeprefix("http://")
    client(python, "logs", "grpc", bare, "wrong", 1, complains="UNAUTHENTICATED")
    print("ok  a wrong address and a wrong token are told by the client")
    after = server.counts("fares", "predictions")["accepted"]
    if after != before:
        raise SystemExit(f"FAILED  {after} predictions, not {before}")


def bentoml(server, python):
    sent = client(python, "bento", server.url, server.token, 40)
    server.until("BentoML's records", lambda: server.counts("churn", "predictions")["accepted"], sent)
    if server.counts("churn", "predictions")["rejected"]:
        raise SystemExit("FAILED  some of BentoML's records were refused")


def kserve(server):
    """The logger of KServe as it is: raw bodies, attributes in headers, the token in the address, any order."""
    bare = server.url.removeprefix("http://")
    before = server.counts("fares", "predictions")["accepted"]
    connection = http.client.HTTPConnection(bare)
    bodies = {
        "request": lambda n: {"instances": [{"distance": n, "carrier": "UA"}, {"distance": n + 1, "carrier": "B6"}]},
        "response": lambda n: {"predictions": [n * 1.5, n * 2.5]},
    }
    halves = [(n, half) for n in range(25) for half in ("request", "response")]
    # Responses may come first, and one half may come twice.
    halves.sort(key=lambda pair: (pair[0] % 7, pair[1] == "request"))
    for number, half in halves + halves[:5]:
        connection.request("POST", f"/api/v1/cloudevents/{server.token}", json.dumps(bodies[half](number)), {
            "Content-Type": "application/json", "Ce-Specversion": "1.0", "Ce-Id": f"3f6d{number:04d}",
            "Ce-Source": "http://localhost:9081/", "Ce-Type": f"org.kubeflow.serving.inference.{half}",
            "Ce-Time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "Ce-Namespace": "models",
            "Ce-Inferenceservicename": "fares", "Ce-Component": "predictor", "Ce-Endpoint": "",
            "Ce-Metadata": '{"X-Request-Id": ["1"]}', "User-Agent": "Go-http-client/1.1",
        })
        answer = connection.getresponse()
        told = answer.read()
        if (answer.status, told) != (200, b""):
            raise SystemExit(f"FAILED  KServe is told {answer.status} {told}")
    found = lambda: (server.counts("fares", "predictions")["accepted"] - before, server.counts("fares", "events")["duplicate"])
    server.until("KServe's inferences, and halves sent twice", found, (50, 5))


def guide(server, python):
    """The recipes of the guide in Python, as they stand."""
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)
    wanted = ["parquet-1", "parquet-2", "arrow-1", "otel-1", "span-1", "event-a", "event-b"]
    before = server.counts("fares", "predictions")["accepted"]
    surroundings = os.environ | {"BELLWETHER_URL": server.url, "BELLWETHER_TOKEN": server.token}
    for block in blocks:
        ran = subprocess.run([python, "-W", "ignore", "-c", block], env=surroundings, capture_output=True, text=True)
        if ran.returncode != 0 or "ERROR" in ran.stderr or "Failed" in ran.stderr:
            raise SystemExit(f"FAILED  a recipe of the guide:\n{block}\n{ran.stderr}")
    found = lambda: server.counts("fares", "predictions")["accepted"] - before
    server.until(f"{len(blocks)} recipes of the guide", found, len(wanted))


def main(program, python, bento_python):
    with tempfile.TemporaryDirectory(prefix="bellwether-integrations-") as folder:
        server = Server(program, pathlib.Path(folder))
        try:
            opentelemetry(server, python)
            troubles(server, python)
            kserve(server)
            guide(server, python)
            if bento_python:
                bentoml(server, bento_python)
            else:
                print("--  BentoML could not be installed; its recorded records are tried by `make test`")
        finally:
            server.stop()
    print("all clients were served")


if __name__ == "__main__":
    # Not resolved: a program in an environment knows it by its own path.
    main(*(os.path.abspath(path) if path else "" for path in sys.argv[1:4]))
