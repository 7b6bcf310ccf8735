"""Pictures of hosts, made of the core's host map: what each pCPU shows, and the SVG. Pure: values in, text out."""
