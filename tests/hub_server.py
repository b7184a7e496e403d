"""A hub for tests: as much of the Hugging Face hub's HTTP interface as fetching a model needs, on this machine."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_a_reader"
OPEN, GATED, PRIVATE = "open", "gated", "private"


class Hub:
    """Models by name: revisions (a branch or a tag to its commit), the files of each, and who may read them."""

    def __init__(self):
        self.refs, self.files, self.access = {}, {}, {}
        self.fetched, self.tokens = [], set()

    def add(self, name, directory, revision="main", access=OPEN):
        """The files under ``directory`` as a revision of the model ``name``; returns its commit."""
        files = {str(p.relative_to(directory)): p.read_bytes() for p in Path(directory).rglob("*") if p.is_file()}
        commit = hashlib.sha1(f"{name} {revision}".encode()).hexdigest()
        self.refs.setdefault(name, {}).update({revision: commit, commit: commit})
        self.files[name, commit] = files
        self.access[name] = access
        return commit

    def answer(self, path, token):
        """Status, headers and body."""
        self.tokens.add(token)
        kind, name, place = self._split(unquote(urlsplit(path).path))
        access = self.access.get(name)
        if access is None or (access == PRIVATE and token != TOKEN):
            return 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository Not Found"}, b""
        if access == GATED and token != TOKEN:
            return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}, b""
        revision, _, file = place.partition("/")
        commit = self.refs[name].get(revision)
        if commit is None:
            return 404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"}, b""
        files = self.files[name, commit]
        if kind == "revision":
            facts = {"id": name, "modelId": name, "sha": commit, "siblings": [{"rfilename": item} for item in files]}
            return 200, {"Content-Type": "application/json"}, json.dumps(facts).encode()
        if kind == "tree":
            rows = [
                {"type": "file", "path": item, "size": len(part), "oid": _oid(part)} for item, part in files.items()
            ]
            return 200, {"Content-Type": "application/json"}, json.dumps(rows).encode()
        if file not in files:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}, b""
        return 200, {"ETag": f'"{_oid(files[file])}"', "X-Repo-Commit": commit}, files[file]

    def _split(self, path):
        parts = path.strip("/").split("/")
        parts = parts[2:] if parts[:2] == ["api", "models"] else parts
        for kind in ("revision", "tree", "resolve"):
            if kind in parts:
                at = parts.index(kind)
                return kind, "/".join(parts[:at]), "/".join(parts[at + 1 :])
        return "model", "/".join(parts), "main"

    @contextmanager
    def running(self):
        """Serve; yields the address."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self._answer(has_body=True)

            def do_HEAD(self):
                self._answer(has_body=False)

            def _answer(self, has_body):
                token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                status, headers, body = hub.answer(self.path, token)
                if has_body and "/resolve/" in self.path and status == 200:
                    hub.fetched.append(self.path.split("/resolve/")[1].split("/", 1)[1])
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                if has_body:
                    self.wfile.write(body)

            def log_message(self, *args):
                """Nothing on the screen."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


def _oid(content):
    return hashlib.sha1(content).hexdigest()
