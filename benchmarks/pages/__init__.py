"""How fast the web page is."""
