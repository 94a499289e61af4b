"""What `test_new_resource.py` adds to a copy of the source, and what it asks of the copy: see __main__.py."""
