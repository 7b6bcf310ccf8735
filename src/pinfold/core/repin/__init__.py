"""Re-pin: move guests to other pCPUs of the same host cell, so that retiring pCPUs become free, or a larger guest fits."""
