"""Sources: rows out of tables, lines, folders of images and data sets, in flat memory."""
