"""The OpenStack image API v2, for one directory of images with property files, and for variants of these images."""
