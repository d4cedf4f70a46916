"""The web: images from hosts that were allowed, and from nowhere else.

A URL is parsed once (:mod:`.url`), its host is looked for in the allowlist (:mod:`.hosts`) and its
addresses are checked (:mod:`.addresses`) before one of them is dialled (:mod:`.network`). What was
checked is what is dialled: nothing is parsed or resolved a second time.
"""
