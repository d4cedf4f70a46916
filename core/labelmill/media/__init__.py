"""Media: uploads, files and thumbnails of images."""
