"Serve a folder of pages on 127.0.0.1, for tests and screenshots"
import sys, threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request, address):
        is_closed_tab = isinstance(sys.exc_info()[1], ConnectionError)
        if not is_closed_tab: super().handle_error(request, address)


@contextmanager
def serve_site(folder):
    "Yields the address"
    server = Server(('127.0.0.1', 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f'http://127.0.0.1:{server.server_port}'
    finally: server.shutdown()
