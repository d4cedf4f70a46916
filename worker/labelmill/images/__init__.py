"""Images: from bytes to pixels, safely."""
