"""Training of the demo classifiers; needed to rebuild them, never to run them."""
