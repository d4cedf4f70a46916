"""Local servers and processes, for the demo, ``labelmill up`` and the tests."""
