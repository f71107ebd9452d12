"""What goes over the wire: requests and results, refusals, signatures, without HTTP."""
