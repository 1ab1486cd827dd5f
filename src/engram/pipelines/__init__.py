"""The pipeline file: read, checked for its form, and written back as a lock file. Nothing here looks at data."""
