"""Screen layouts of responses: values in, Rich renderables out."""
