"""The sandbox's API and metadata services, served in the namespace of AWS's side by the sandbox's own process."""

import ssl
import threading
from typing import Any

from llmlab.sandbox.catalogue import FACTORS
from llmlab.sandbox.estate.authority import DOMAIN, Authority
from llmlab.sandbox.estate.namespace import API, METADATA, REGISTRY, RESOLVER, Namespace

Application = Any
"""A WSGI application."""


class Serving:
    """A WSGI server on one listening socket, with the threads that answer."""

    def __init__(self, application: Application, listening: Any, handler: type, tls: ssl.SSLContext | None = None) -> None:
        from werkzeug.serving import ThreadedWSGIServer

        class Server(ThreadedWSGIServer):  # type: ignore[misc]
            daemon_threads = True

            def finish_request(self, request: Any, client_address: Any) -> None:
                """Do the TLS handshake in the request's own thread, so that a slow client holds up nobody."""
                if tls is None:
                    super().finish_request(request, client_address)
                    return
                try:
                    with tls.wrap_socket(request, server_side=True) as secured:
                        super().finish_request(secured, client_address)
                except OSError:
                    return

        address, port = listening.getsockname()
        self.server = Server(address, port, application, handler, fd=listening.fileno())
        listening.close()  # the server has its own copy
        self._thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, name=f"{address}:{port}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(5)


def api(application: Application, handler: type, namespace: Namespace, authority: Authority) -> Serving:
    """Serve AWS's API under its own host names, on TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.services, authority.key)
    return Serving(application, namespace.listen(API, 443), handler, context)


def metadata(application: Application, handler: type, namespace: Namespace, device: str, hops: int) -> Serving:
    """Serve the metadata service of the machine at the other end of a cable; `hops` is the IP_TTL of its answers."""
    return Serving(application, namespace.listen(METADATA, 80, device=device, hops=hops), handler)


def resolver_command(namespace: Namespace) -> list[str]:
    """The command line of a `dnsmasq` that resolves AWS's names and no others; it ends with this process."""
    command = ["setpriv", "--pdeathsig", "KILL", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"]
    command += ["--no-resolv", "--no-hosts", f"--listen-address={RESOLVER}", "--bind-interfaces", "--local=/#/"]
    command.append(f"--address=/{DOMAIN}/{API}")
    command += [f"--address=/dkr.ecr.{region}.{DOMAIN}/{REGISTRY}" for region in FACTORS]
    return namespace.entered(command)
