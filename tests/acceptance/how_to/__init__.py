"""The how-tos, carried out."""
