"""The web page: sign-in, the fleet and one host, as HTML that works without JavaScript. Reading only; it uses what `/v1` uses."""
