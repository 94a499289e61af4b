"""The surroundings of a sandbox's machines in Docker mode: every service that a real instance reaches over its network.

A network namespace stands for AWS's side. In it are the API on TLS under AWS's own names, the registry, the resolver, and for each
machine a metadata service that hears that machine alone. A machine is a container with systemd, cloud-init and a Docker engine of
its own (`host/Dockerfile`), and a veth cable into the namespace; it has no other network. `estate.Estate` opens and closes all of it.
The downside: it needs Linux and root, and builds two images the first time.
"""
