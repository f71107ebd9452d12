"""A shop that tells its customers about their orders."""
