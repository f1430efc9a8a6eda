"""What `interact-env new-world` copies: a world and its test, under the name `my_world`."""
