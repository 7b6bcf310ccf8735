"""The OpenStack image API v2, read-only, for one directory of images with property files."""
