"""What lies around the machines of a sandbox in Docker mode: everything that a real instance finds at the other end of its cable.

A network namespace stands for AWS's side. In it are the API on TLS under AWS's own names, the registry, the resolver, and for each
machine a metadata service that hears that machine alone. A machine is a container with systemd, cloud-init and a Docker engine of
its own (`host/Dockerfile`), and a cable into the namespace; it has no other way out. `estate.Estate` puts it all together.
The downside: it needs Linux and root, and builds two images the first time.
"""
