"""What AWS's settings say, and the signed request made of it; the only room that knows botocore."""
