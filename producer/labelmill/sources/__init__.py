"""Sources: rows of files, folders and streams, and the jobs made of them."""
