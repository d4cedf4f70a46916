"""The gateway: jobs and results over HTTP. Needs the extra ``labelmill[gateway]``."""
