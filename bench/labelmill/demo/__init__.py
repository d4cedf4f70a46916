"""The bundled demo: two small classifiers trained by this project, and labelled data to try."""
