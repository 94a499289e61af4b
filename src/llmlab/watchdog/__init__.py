"""The function that ends what is too old and resumes what was interrupted."""
