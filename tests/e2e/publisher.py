"""What a CA publishes, on loopback: CRLs, an OCSP responder, issuers' certificates, renewal information. Each path is a
function of the request that returns (status, headers, body); a test puts faults in their place."""
import base64
import functools
import http.server
import socketserver
import threading
import urllib.parse


class Request:
    def __init__(self, handler, body):
        self.path, self.headers, self.body, self.handler = handler.path, handler.headers, body, handler


class Publisher(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """with Publisher() as p: p.paths["/leaf.crl"] = lambda request: (200, {}, der)"""
    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.paths, self.seen, self.over = {}, [], threading.Event()
        self.answer_ocsp = None

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # who hung up on us has had enough

    def publish_crls(self, ca):
        """The CA's lists as they are at each request, with validators."""
        for path, part in (("/leaf.crl", "leaf"), ("/ca.crl", "ca")):
            def answer(request, part=part):
                der = ca.crl(part)
                tag = f'"{hash(der) & 0xffffffff:x}"'
                if request.headers.get("If-None-Match") == tag:
                    return 304, {"ETag": tag}, b""
                return 200, {"ETag": tag, "Content-Type": "application/pkix-crl"}, der
            self.paths[path] = answer

    def publish_ocsp(self, ca, keep=False):
        """keep: one answer for all who ask the same, as CAs do."""
        self.answer_ocsp = functools.lru_cache(ca.ocsp) if keep else ca.ocsp

        def answer(request):
            asked = request.body or base64.b64decode(urllib.parse.unquote(request.path.split("/ocsp/", 1)[1]))
            return 200, {"Content-Type": "application/ocsp-response"}, self.answer_ocsp(asked)
        self.paths["/ocsp"] = answer

    def count(self, path):
        return sum(1 for p in self.seen if p == path)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._answer(b"")

    def do_POST(self):
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _answer(self, body):
        self.server.seen.append(self.path)
        paths = self.server.paths
        found = paths.get(self.path) or next((a for p, a in paths.items() if self.path.startswith(p + "/")), None)
        status, headers, content = found(Request(self, body)) if found else (404, {}, b"")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        pieces = content if not isinstance(content, bytes) else None
        if pieces is None and "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        if pieces is not None:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        for piece in pieces if pieces is not None else [content]:
            self.wfile.write(piece)
