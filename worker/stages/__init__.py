"""The stages of a group: prepare, forward, commit, each a thread, with bounded hand-overs."""
