"""What is measured on a device by :mod:`labelmill.bench.gpu`: its parts, a module a subject."""
