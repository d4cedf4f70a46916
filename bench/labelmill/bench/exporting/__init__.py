"""What the export is measured with: a database full of results, and its peers' scripts."""
