"""The OpenStack image API v2, read-only, over one directory of images with property files."""
