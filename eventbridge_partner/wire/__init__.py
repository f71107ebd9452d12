"""The wire format without HTTP: requests, results, refusals and signatures."""
